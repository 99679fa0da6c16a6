import { expect, test } from 'vitest';
import { diagnosticAt, headline, render, sorted } from './diagnostic.js';
import { Lines } from './lines.js';

const at = (text: string, part: string, message = 'wrong') => {
  const start = text.indexOf(part);
  return diagnosticAt('a.proto', new Lines(text), { start, end: start + part.length, message });
};

test('the caret stands below the place, behind the same tabs', () => {
  expect(render(at('x;\r\n\tint32 a = 0;\r\n', '0'))).toBe(
    'a.proto:2:12: wrong\n  2 | \tint32 a = 0;\n    | \t          ^',
  );
  expect(render(at('message Nope', 'Nope'))).toBe(
    'a.proto:1:9: wrong\n  1 | message Nope\n    |         ^^^^',
  );
});

test('what goes over several lines is underlined in the first', () => {
  expect(render(at('ab\ncd', 'b\nc'))).toBe('a.proto:1:2: wrong\n  1 | ab\n    |  ^');
});

test('of a long line, what is around the place is shown', () => {
  const shown = render(at(`${'x'.repeat(500)}HERE${'y'.repeat(500)}`, 'HERE')).split('\n');
  expect(shown[1]).toContain('xxHEREyy');
  expect(shown[1]?.length).toBeLessThan(140);
  expect(shown[1]?.indexOf('HERE')).toBe(shown[2]?.indexOf('^^^^'));
});

test('a diagnostic without place is its message', () => {
  expect(render({ message: 'nothing there' })).toBe('nothing there');
});

test('they are sorted by place, and each is there once', () => {
  const text = 'b a\nc';
  const all = [at(text, 'c'), at(text, 'a'), at(text, 'b'), at(text, 'a')];
  expect(sorted(all).map(headline)).toEqual([
    'a.proto:1:1: wrong',
    'a.proto:1:3: wrong',
    'a.proto:2:1: wrong',
  ]);
});
