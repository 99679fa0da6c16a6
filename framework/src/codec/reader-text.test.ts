// Short text that comes again is the string it was; nobody may tell the difference.

import { expect, test } from 'vitest';
import { Reader } from './reader.js';

/** What a reader makes of some bytes, in memory of their own. */
function read(bytes: Uint8Array): string {
  const field = new Uint8Array(bytes.length + 3);
  field[1] = bytes.length;
  field.set(bytes, 2);
  return new Reader().set(field, 1, bytes.length + 1).string();
}

const encoder = new TextEncoder();
const texts = [
  'a',
  'ab',
  'a.b.c',
  // These have length, ends and middle in common.
  ...Array.from({ length: 40 }, (_, number) => `sensor.${10 + number}.xyz.${10 + number}.value`),
  'bench.fanout',
  'x'.repeat(48),
  'x'.repeat(49),
  'ä',
  'aéa',
  'a\u0000a',
  'grüße.an.alle',
  '\ufffd',
  'a\ufffda',
  '😀',
  '日本語.日本語',
];

test('text is the same whenever it comes, and whatever came in between', () => {
  for (let round = 0; round < 5; round++) {
    for (const text of round % 2 === 0 ? texts : texts.toReversed()) {
      const bytes = encoder.encode(text);
      for (let again = 0; again <= round; again++) expect(read(bytes)).toBe(text);
    }
  }
});

test('what is like known text but for one byte is not taken for it', () => {
  for (const text of texts.filter((each) => each.length < 48)) {
    const bytes = encoder.encode(text);
    for (let again = 0; again < 3; again++) read(bytes);
    for (let at = 0; at < bytes.length; at++) {
      const other = bytes.slice();
      // Stays ASCII, or invalid as it was.
      other[at]! ^= 1;
      const expected = Buffer.from(other).toString();
      if (expected.includes('\ufffd') && !text.includes('\ufffd')) {
        expect(() => read(other)).toThrow('UTF-8');
      } else {
        expect(Buffer.from(encoder.encode(expected))).toEqual(Buffer.from(other));
        expect(read(other)).toBe(expected);
      }
    }
  }
});

test('bytes that are no UTF-8 are refused, though they are as long as known text', () => {
  for (let again = 0; again < 3; again++) expect(read(encoder.encode('abc'))).toBe('abc');
  for (const wrong of [
    [0x61, 0xff, 0x63],
    [0xe1, 0x62, 0x63],
    [0x61, 0x62, 0xc3],
  ]) {
    for (let again = 0; again < 3; again++) {
      expect(() => read(new Uint8Array(wrong))).toThrow('UTF-8');
    }
  }
});
