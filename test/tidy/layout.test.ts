// The memory that native code and JavaScript share is laid out twice; both say the same.

import { expect, test } from 'vitest';
import { text } from './tree.js';

const native = constants(
  text('native/crates/engine/src/layout.rs'),
  /^pub const (\w+): \w+ = ([^;]+);/gm,
);
const framework = constants(
  text('framework/src/bridge/layout.ts'),
  /^export const (\w+) = ([^;]+);/gm,
);

function constants(source: string, pattern: RegExp): Map<string, number> {
  return new Map(
    [...source.matchAll(pattern)].map(([, name = '', value = '']) => [name, evaluate(value)]),
  );
}

/** A literal, a product of literals, or the largest u32. */
function evaluate(value: string): number {
  if (value === 'u32::MAX') return 0xffff_ffff;
  const factors = value.split('*').map((factor) => Number(factor.trim().replaceAll('_', '')));
  return factors.reduce((product, factor) => product * factor, 1);
}

test('the definition was understood', () => {
  expect(native.size).toBeGreaterThan(30);
  expect([...native].filter(([, value]) => !Number.isInteger(value))).toEqual([]);
});

test('the framework has no constant that differs', () => {
  expect(framework.size).toBeGreaterThan(30);
  expect(Object.fromEntries(framework)).toEqual(
    Object.fromEntries([...framework.keys()].map((name) => [name, native.get(name)])),
  );
});

test('the framework knows every kind, flag and cause', () => {
  const needed = [...native.keys()].filter(
    (name) => /^(CONTROL|RECORD|OPERATION|CAUSE|FLAG)_/.test(name) && !name.endsWith('_CAPACITY'),
  );
  expect(needed.filter((name) => !framework.has(name))).toEqual([]);
});
