import { isDeepStrictEqual } from 'node:util';

/** What `settled` takes beside the value. */
export interface SettledOptions {
  /** How long the value has to stay the same. Default 100 ms. */
  readonly quietMs?: number;
  /** After this time it throws. Default 5 s. */
  readonly timeoutMs?: number;
}

/** Kept, for a test may put fake ones in their place. */
const { setTimeout } = globalThis;
const clock = performance.now.bind(performance);

/**
 * Resolves to a value once it no longer changes: what a producer has done when backpressure holds it.
 *
 * ```ts
 * const held = await settled(() => produced);
 * ```
 *
 * @param read looks at the value; many times a second
 * @param options how long it has to rest, and how long that may take
 * @throws Error if it has not come to rest in time
 */
export async function settled<T>(
  read: () => T | Promise<T>,
  { quietMs = 100, timeoutMs = 5000 }: SettledOptions = {},
): Promise<T> {
  const start = clock();
  let value = await read();
  for (let since = start; clock() - since < quietMs; ) {
    if (clock() - start > timeoutMs) {
      throw new Error(`the value still changes after ${timeoutMs} ms: it is ${String(value)} now`);
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(1, quietMs / 10)));
    const now = await read();
    if (!isDeepStrictEqual(now, value)) since = clock();
    value = now;
  }
  return value;
}
