// docs/faults.md names tests and counters: they exist.

import { expect, test } from 'vitest';
import { files, text } from './tree.js';

const page = text('docs/faults.md');
const sources = files(/^native\/crates\/ring\/.*\.rs$/)
  .map(text)
  .join('\n');

/** The words in backticks in one column of all tables. */
function column(number: number): string[] {
  const rows = page.split('\n').filter((line) => line.startsWith('| ') && !line.includes('|---'));
  return rows.flatMap((row) =>
    Array.from((row.split(' | ')[number] ?? '').matchAll(/`([a-z_]+)`/g), ([, word]) => word ?? ''),
  );
}

test('every test that the page of faults names exists', () => {
  const named = column(1);
  expect(named.length).toBeGreaterThan(30);
  expect(named.filter((name) => !new RegExp(`\\bfn ${name}\\(`).test(sources))).toEqual([]);
});

test('every counter that it names exists', () => {
  const counters = text('native/crates/ring/src/counters.rs');
  const named = column(2);
  expect(named.length).toBeGreaterThan(15);
  expect(named.filter((name) => !counters.includes(`pub ${name}: u64`))).toEqual([]);
});

test('every fault that can be planned is in a test', () => {
  const plan = text('native/crates/ring/src/fault.rs');
  const chances = Array.from(plan.matchAll(/pub (\w+_chance): u8/g), ([, name]) => name ?? '');
  expect(chances.length).toBeGreaterThan(8);
  const tests = files(/^native\/crates\/ring\/(tests\/|src\/probe\/).*\.rs$/)
    .map(text)
    .join('\n');
  expect(chances.filter((name) => !tests.includes(`${name}:`))).toEqual([]);
});
