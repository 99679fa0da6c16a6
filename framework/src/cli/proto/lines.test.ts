import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Lines } from './lines.js';

test('every offset has its line and column, whatever ends the lines', () => {
  const text = fc
    .array(fc.constantFrom('a', 'bc', '\n', '\r\n', '\r', '😀'))
    .map((all) => all.join(''));
  fc.assert(
    fc.property(text, fc.nat(), (given, number) => {
      const offset = given.length === 0 ? 0 : number % given.length;
      // Counted the slow way.
      const before = given.slice(0, offset).split(/\r\n|\r(?!$)|\n/);
      const open = given.slice(0, offset).endsWith('\r') && given[offset] !== '\n';
      const line = before.length + (open ? 1 : 0);
      const column = open ? 1 : (before.at(-1) ?? '').length + 1;
      expect(new Lines(given).positionOf(offset)).toEqual({ line, column });
    }),
    { numRuns: 1000 },
  );
});

test('a line has no end in it', () => {
  const lines = new Lines('one\r\n\ttwo\nthree');
  expect([1, 2, 3, 4].map((line) => lines.textOf(line))).toEqual(['one', '\ttwo', 'three', '']);
});
