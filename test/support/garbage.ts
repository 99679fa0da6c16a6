// What a process holds, without what V8 has not collected yet.

import v8 from 'node:v8';
import vm from 'node:vm';

v8.setFlagsFromString('--expose-gc');

export const collectGarbage = vm.runInNewContext('gc') as () => void;

/** Bytes of memory that this process holds: what is alive in the heap, and all outside of it. */
export function heldBytes(): number {
  collectGarbage();
  const { rss, heapTotal, heapUsed } = process.memoryUsage();
  return rss - heapTotal + heapUsed;
}
