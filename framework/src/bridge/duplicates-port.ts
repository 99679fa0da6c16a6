import { load } from '@millrace/native/load';
import type { NativeDuplicates } from './native.js';

/** The identifiers of one name, as native code has them for all threads. */
export function openDuplicates(name: string, windowMs: number, count: number): NativeDuplicates {
  const { NativeDuplicates } = load();
  return new NativeDuplicates(name, windowMs, count);
}
