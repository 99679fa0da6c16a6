import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import * as layout from './layout.js';

const definition = fileURLToPath(
  new URL('../../../native/crates/engine/src/layout.rs', import.meta.url),
);

test('every constant here has the value that the engine defines', () => {
  const source = readFileSync(definition, 'utf8');
  const defined = new Map<string, number>();
  for (const [, name, value] of source.matchAll(/^pub const (\w+): \w+ = ([^;]+);/gm)) {
    defined.set(name!, evaluate(value!));
  }
  expect(defined.size).toBeGreaterThan(30);
  for (const [name, value] of Object.entries(layout)) {
    expect([name, defined.get(name)]).toEqual([name, value]);
  }
});

/** A Rust constant: a number, a product of numbers, or u32::MAX. */
function evaluate(expression: string): number {
  if (expression === 'u32::MAX') return 0xffffffff;
  return expression
    .split('*')
    .map((factor) => Number(factor.trim().replaceAll('_', '')))
    .reduce((product, factor) => product * factor, 1);
}
