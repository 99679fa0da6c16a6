import { setTimeout as delay } from 'node:timers/promises';
import { patience } from './patience.js';

const POLL_MS = 10;

/**
 * Waits until `probe` gives a value that `accept` takes, and returns it. For states that another
 * process reaches without telling; where an event can be awaited, await it. An emulated machine
 * gets more time.
 */
export async function eventually<T>(
  what: string,
  probe: () => T | Promise<T>,
  accept: (value: T) => boolean = Boolean,
  timeoutMs = 10_000,
): Promise<T> {
  const limitMs = patience(timeoutMs);
  const end = performance.now() + limitMs;
  for (;;) {
    const value = await probe();
    if (accept(value)) return value;
    if (performance.now() > end) {
      throw new Error(`${what}: not within ${limitMs} ms; last seen: ${JSON.stringify(value)}`);
    }
    await delay(POLL_MS);
  }
}
