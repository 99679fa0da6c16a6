import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FileDescriptor } from 'millrace/codec';

const command = fileURLToPath(new URL('../../../framework/dist/cli/main.js', import.meta.url));
/** In the package, from where modules find `millrace/codec`; git ignores it. */
const out = fileURLToPath(new URL('../test/gen', import.meta.url));

/** What `millrace generate` exports in these modules of a folder of .proto files. */
export async function generated(
  protos: string,
  modules: readonly string[],
): Promise<Record<string, FileDescriptor>> {
  execFileSync(process.execPath, [command, 'generate', '--proto', protos, '--out', out]);
  const loaded = modules.map((module) => import(/* @vite-ignore */ join(out, `${module}.ts`)));
  return Object.assign({}, ...(await Promise.all(loaded)));
}
