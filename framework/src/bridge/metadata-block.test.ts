import { expect, test } from 'vitest';
import { decodeMetadata, encodeMetadata, encodeStatus } from './metadata-block.js';

test('metadata crosses in the form that the contract names', () => {
  const block = encodeMetadata([
    ['x-a', 'v'],
    ['b-bin', new Uint8Array([0, 255])],
  ]);
  // count; per entry the lengths of name and value, then both; all little-endian.
  expect([...block]).toEqual(
    [
      [2, 0, 0, 0],
      [3, 0, 0, 0, 1, 0, 0, 0, ...Buffer.from('x-a'), ...Buffer.from('v')],
      [5, 0, 0, 0, 2, 0, 0, 0, ...Buffer.from('b-bin'), 0, 255],
    ].flat(),
  );
  expect([...decodeMetadata(block)]).toEqual([
    ['x-a', 'v'],
    ['b-bin', new Uint8Array([0, 255])],
  ]);
});

test('a block that is a view into something larger', () => {
  const block = encodeMetadata([['x-a', 'value']]);
  const around = Buffer.concat([Buffer.alloc(7, 0xff), block, Buffer.alloc(3, 0xff)]);
  expect(decodeMetadata(around.subarray(7, 7 + block.length)).get('x-a')).toBe('value');
});

test('bytes of a received block are copies', () => {
  const block = encodeMetadata([['b-bin', new Uint8Array([1])]]);
  const value = decodeMetadata(block).get('b-bin');
  block.fill(9);
  expect([...value!]).toEqual([1]);
});

test('a status block: message in UTF-8, then trailers', () => {
  const block = encodeStatus('größer', [['x', 'y']]);
  const message = Buffer.from('größer');
  expect(block.readUInt32LE(0)).toBe(message.length);
  expect(block.subarray(4, 4 + message.length)).toEqual(message);
  expect(decodeMetadata(block.subarray(4 + message.length)).get('x')).toBe('y');
});
