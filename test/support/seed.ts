// Random but repeatable: a failed test names its seed, and MILLRACE_SEED repeats the run.

import { onTestFailed } from 'vitest';

export { type Random, random } from './random.js';

/** The seed for a test; it is printed if the test fails. */
export function seedForTest(): number {
  const given = process.env['MILLRACE_SEED'];
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  onTestFailed(() => {
    console.error(`repeat this run with MILLRACE_SEED=${seed}`);
  });
  return seed;
}
