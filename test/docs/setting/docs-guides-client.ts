import { Echo } from './common.js';

export { Echo as Stock };
export const lines: readonly string[] = ['one', 'two'];
export async function token(): Promise<string> {
  return 'secret';
}
