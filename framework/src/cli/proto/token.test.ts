import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TEST_PROTOS } from '../generate/modules.test-support.js';
import { protoText } from './proto.test-support.js';
import { tokenize } from './token.js';

const kindsOf = (text: string) =>
  tokenize(text)
    .filter(({ kind }) => kind !== 'whitespace')
    .map(({ kind, text: own }) => [kind, own]);

test('nothing is lost, whatever the text is', () => {
  fc.assert(
    fc.property(fc.oneof(protoText, fc.string({ unit: 'binary' })), (text) => {
      const tokens = tokenize(text);
      expect(tokens.map((token) => token.text).join('')).toBe(text);
      let at = 0;
      for (const token of tokens) {
        expect(token.start).toBe(at);
        expect(token.end - token.start).toBe(token.text.length);
        expect(token.end).toBeGreaterThan(at);
        at = token.end;
      }
    }),
    { numRuns: 2000 },
  );
});

test('nothing is lost of real files, and nothing in them is invalid', () => {
  const names = readdirSync(TEST_PROTOS, { recursive: true, encoding: 'utf8' });
  const files = names.filter((name) => name.endsWith('.proto'));
  expect(files.length).toBeGreaterThan(2);
  for (const file of files) {
    const text = readFileSync(join(TEST_PROTOS, file), 'utf8');
    const tokens = tokenize(text);
    expect(tokens.map((token) => token.text).join('')).toBe(text);
    expect(tokens.filter(({ kind }) => kind === 'invalid')).toEqual([]);
  }
});

test('kinds', () => {
  expect(kindsOf('option (a.b)="x\\"y"; // end\r\n/* a\n*/ 0x1F -1.5e-3 .5 a_1')).toEqual([
    ['identifier', 'option'],
    ['symbol', '('],
    ['identifier', 'a'],
    ['symbol', '.'],
    ['identifier', 'b'],
    ['symbol', ')'],
    ['symbol', '='],
    ['string', '"x\\"y"'],
    ['symbol', ';'],
    ['comment', '// end'],
    ['comment', '/* a\n*/'],
    ['number', '0x1F'],
    ['symbol', '-'],
    ['number', '1.5e-3'],
    ['number', '.5'],
    ['identifier', 'a_1'],
  ]);
});

test('what has no end ends with its line, or with the file', () => {
  expect(kindsOf('"open\nint32')).toEqual([
    ['invalid', '"open'],
    ['identifier', 'int32'],
  ]);
  expect(kindsOf("'a\\")).toEqual([['invalid', "'a\\"]]);
  expect(kindsOf('a /* b')).toEqual([
    ['identifier', 'a'],
    ['invalid', '/* b'],
  ]);
  expect(kindsOf('😀#')).toEqual([
    ['invalid', '😀'],
    ['invalid', '#'],
  ]);
});
