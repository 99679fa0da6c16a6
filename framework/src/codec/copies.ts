import v8 from 'node:v8';
import vm from 'node:vm';

/**
 * Bytes of new ArrayBuffers that hold copies of messages' `bytes`, since the last collection that
 * {@link collectCopies} ran.
 */
export const copies = { bytes: 0 };

/**
 * V8 (as of 11.3) collects young ArrayBuffers after every 32 MiB of them, but takes their bytes off
 * its count only when the next collection begins: up to 64 MiB of garbage stand in it. A small heap
 * starts a major collection after 16 MiB of external growth already, any heap after 64 MiB. So a
 * server that copies `bytes` at full speed collects everything after every young collection or two,
 * a third of its time, in steps of 5 to 10 ms in which its timers wait.
 *
 * Half of the lesser bound: what one collection finds dead and what has come since stay below it.
 */
const COLLECT_BYTES = 8 * 1024 * 1024;

type Collect = (options: { readonly type: 'minor' }) => void;

let collect: Collect | undefined;

/**
 * Runs a young collection once enough copies have been made since the last. For the beginning of a
 * batch, where the stack is short and the messages of the one before are dead.
 */
export function collectCopies(): void {
  if (copies.bytes < COLLECT_BYTES) return;
  copies.bytes = 0;
  collect ??= findCollector();
  collect({ type: 'minor' });
}

/** Without it V8 collects when it thinks fit, as it always did. */
function findCollector(): Collect {
  if (typeof globalThis.gc === 'function') return globalThis.gc as Collect;
  // Only contexts made while the flag is set have the function: nobody else gets to see it.
  v8.setFlagsFromString('--expose-gc');
  try {
    return vm.runInNewContext('gc') as Collect;
  } catch {
    return () => {};
  } finally {
    v8.setFlagsFromString('--no-expose-gc');
  }
}
