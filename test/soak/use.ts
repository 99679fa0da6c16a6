import { setImmediate as turn } from 'node:timers/promises';
import { openDescriptors, residentBytes } from '../support/probes.js';
import type { ProcessUse } from './options.js';

/** What this process uses once everything unreachable is gone. Needs --expose-gc. */
export async function ownUse(): Promise<ProcessUse> {
  // What a collection finalizes may free more for the next one.
  for (let round = 0; round < 3; round++) {
    globalThis.gc?.();
    await turn();
  }
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return {
    heapUsed,
    external,
    arrayBuffers,
    resident: residentBytes(process.pid),
    descriptors: openDescriptors(process.pid),
  };
}
