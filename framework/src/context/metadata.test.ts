import { describe, expect, test } from 'vitest';
import { Metadata, type MetadataInit } from './metadata.js';

describe('Metadata', () => {
  test('names are compared in lower case; values keep their order', () => {
    const metadata = new Metadata().append('X-A', '1').append('x-b', '2').append('x-a', '3');
    expect(metadata.get('x-A')).toBe('1');
    expect(metadata.getAll('x-a')).toEqual(['1', '3']);
    expect([...metadata]).toEqual([
      ['x-a', '1'],
      ['x-b', '2'],
      ['x-a', '3'],
    ]);
    expect(metadata.size).toBe(3);
  });

  test('set replaces, delete removes all', () => {
    const metadata = Metadata.from({ a: ['1', '2'], b: '3' });
    metadata.set('a', '4');
    expect(metadata.getAll('a')).toEqual(['4']);
    expect(metadata.delete('A')).toBe(true);
    expect(metadata.delete('a')).toBe(false);
    expect(metadata.has('b')).toBe(true);
  });

  test.each<[string, MetadataInit]>([
    ['an object', { a: '1', 'b-bin': new Uint8Array([1]) }],
    ['pairs', [['a', '1'] as const, ['b-bin', new Uint8Array([1])] as const]],
    ['metadata', new Metadata().append('a', '1').append('b-bin', new Uint8Array([1]))],
  ])('is made of %s', (_what, init) => {
    const metadata = Metadata.from(init);
    expect(metadata.get('a')).toBe('1');
    expect([...metadata.get('b-bin')!]).toEqual([1]);
  });

  test.each<[string, string, string | Uint8Array]>([
    ['a reserved name', 'grpc-status', '0'],
    ['an illegal name', 'x y', '0'],
    ['an empty name', '', '0'],
    ['a pseudo-header', ':path', '/'],
    ['text that is not ASCII', 'x', 'größer'],
    ['a line break', 'x', 'a\r\nb'],
    ['text for bytes', 'x-bin', 'text'],
    ['bytes for text', 'x', new Uint8Array(1)],
  ])('refuses %s', (_what, name, value) => {
    expect(() => new Metadata().append(name, value)).toThrow('MILLRACE_METADATA_INVALID');
    expect(() => new Metadata().set(name, value)).toThrow('MILLRACE_METADATA_INVALID');
  });
});
