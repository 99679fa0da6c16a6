import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { jsonPieces, piecesOf } from './json-stream.js';
import { type JsonNode, JsonSyntaxError, parseJson } from './json-text.js';

/** The value as JSON.parse would give it. */
function plainJson(node: JsonNode): unknown {
  switch (node.kind) {
    case 'object':
      return Object.fromEntries([...node.members].map(([name, one]) => [name, plainJson(one)]));
    case 'array':
      return node.items.map(plainJson);
    case 'number':
      return Number(node.text);
    case 'plain':
      return node.value;
  }
}

describe('parseJson', () => {
  test('agrees with JSON.parse', () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom(undefined, 1, '\t'), (json, space) => {
        const text = JSON.stringify(JSON.parse(json), undefined, space);
        expect(plainJson(parseJson(text))).toEqual(JSON.parse(text));
      }),
    );
  });

  test('refuses what JSON.parse refuses, and names a place inside', () => {
    const character = fc.constantFrom(...'{}[],:"\\0123.eE+-tfn \n\u0001aä');
    fc.assert(
      fc.property(fc.array(character, { maxLength: 12 }), (characters) => {
        const text = characters.join('');
        let value: unknown;
        try {
          value = JSON.parse(text);
        } catch {
          expect(() => parseJson(text)).toThrow(JsonSyntaxError);
          return;
        }
        expect(plainJson(parseJson(text))).toEqual(value);
      }),
      { numRuns: 2000 },
    );
  });

  test('keeps the digits of numbers', () => {
    expect(parseJson('123456789012345678901')).toMatchObject({ text: '123456789012345678901' });
  });

  test.each([
    ['', 1, 1, '', 'expected a value, found the end'],
    ['{"a": [1,\n {"b": tru}]}', 2, 8, 'a[1].b', 'expected a value, found tru'],
    ['{"a" 1}', 1, 6, 'a', 'expected :, found 1'],
    ['{a: 1}', 1, 2, '', 'expected a name in quotes or }, found a'],
    ['{"a": 01}', 1, 7, 'a', 'expected a value, found 01'],
    ['[1 2]', 1, 4, '', 'expected , or ], found 2'],
    ['{"a":{"b":1,"b":2}}', 1, 13, 'a.b', 'the name is given twice'],
  ])('%j', (text, line, column, path, message) => {
    const place = { line, column };
    expect(() => parseJson(text)).toThrow(expect.objectContaining({ message, place, path }));
  });

  test('nesting has a bound', () => {
    expect(() => parseJson('['.repeat(100_000))).toThrow('nested deeper than 200');
  });
});

describe('jsonPieces', () => {
  async function* chunks(text: string, lengths: readonly number[]): AsyncGenerator<string> {
    let at = 0;
    for (const length of lengths) {
      yield text.slice(at, at + length);
      at += length;
    }
    yield text.slice(at);
  }

  async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
    const list: T[] = [];
    for await (const item of items) list.push(item);
    return list;
  }

  test('the same however the text arrives, each with its place', async () => {
    const value = fc.json().map((json) => JSON.parse(json) as unknown);
    const layout = fc.constantFrom(undefined, 2);
    const separator = fc.constantFrom('\n', ' ', '\r\n\n', '\n\n  ');
    const property = fc.asyncProperty(
      fc.array(fc.tuple(value, layout, separator), { maxLength: 6 }),
      fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 20 }),
      async (parts, lengths) => {
        const text = parts.map(([one, space, end]) => JSON.stringify(one, undefined, space) + end);
        const whole = text.join('');
        const pieces = await all(jsonPieces(chunks(whole, lengths)));
        expect(pieces.map((piece) => JSON.parse(piece.text))).toEqual(
          parts.map(([one]) => JSON.parse(JSON.stringify(one))),
        );
        expect(pieces).toEqual(piecesOf(whole));
        for (const { text: piece, place } of pieces) {
          const line = whole.split('\n')[place.line - 1] as string;
          expect(`${line.slice(place.column - 1)}\n`.startsWith(`${piece.split('\n')[0]}`)).toBe(
            true,
          );
        }
      },
    );
    await fc.assert(property);
  });

  test('without white space in between', () => {
    const texts = piecesOf('{"a":"}{"}[1]"x\\""3 true{}').map(({ text }) => text);
    expect(texts).toEqual(['{"a":"}{"}', '[1]', '"x\\""', '3', 'true', '{}']);
  });

  test('a string that is not closed ends with its line', () => {
    expect(piecesOf('{"a": "b\n{"c": 1}').map(({ text }) => text)).toEqual([
      '{"a": "b',
      '{"c": 1}',
    ]);
  });
});
