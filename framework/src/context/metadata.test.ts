import { inspect } from 'node:util';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { Metadata, type MetadataInit, type MetadataValue } from './metadata.js';

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

  test('undefined properties of an object are left out, other lists kept in order', () => {
    const metadata = Metadata.from({
      a: undefined,
      'b-bin': [new Uint8Array([1]), new Uint8Array()],
    });
    expect([...metadata]).toEqual([
      ['b-bin', new Uint8Array([1])],
      ['b-bin', new Uint8Array()],
    ]);
  });

  test('keys are the names, each once', () => {
    const metadata = Metadata.from({ b: '1', a: ['2', '3'] }).append('B', '4');
    expect([...metadata.keys()]).toEqual(['b', 'a']);
    expect([...new Metadata().keys()]).toEqual([]);
  });

  test('merge adds the values of the other behind those that are there', () => {
    const metadata = Metadata.from({ a: '1' });
    expect(metadata.merge(Metadata.from({ a: '2', b: '3' })).merge({ c: ['4'] })).toBe(metadata);
    expect([...metadata]).toEqual([
      ['a', '1'],
      ['a', '2'],
      ['b', '3'],
      ['c', '4'],
    ]);
    expect(metadata.merge(metadata).size).toBe(8);
    expect(() => metadata.merge({ te: 'trailers' })).toThrow('"te"');
  });

  test('a clone shares nothing with what it was made of', () => {
    const bytes = new Uint8Array([1]);
    const metadata = new Metadata().set('a-bin', bytes).set('b', '1');
    const clone = metadata.clone();
    bytes[0] = 9;
    metadata.delete('b');
    expect(clone.toJSON()).toEqual({ 'a-bin': ['AQ=='], b: ['1'] });
    expect(metadata.toJSON()).toEqual({ 'a-bin': ['CQ=='] });
  });

  test('spaces around a value are no part of it; an empty value is one', () => {
    const metadata = new Metadata().append('a', '  x y ').append('a', '').append('a', '   ');
    expect(metadata.getAll('a')).toEqual(['x y', '', '']);
    expect(metadata.get('a')).toBe('x y');
    expect(metadata.set('b', ' ').has('b')).toBe(true);
  });

  test('logs and consoles show names and values', () => {
    const metadata = Metadata.from({ a: ['1', '2'], 'b-bin': Buffer.from('hello') });
    expect(JSON.stringify(metadata)).toBe('{"a":["1","2"],"b-bin":["aGVsbG8="]}');
    expect(inspect(metadata)).toBe("{ a: [ '1', '2' ], 'b-bin': [ 'aGVsbG8=' ] }");
  });

  test('a name of an object that every object has', () => {
    const metadata = new Metadata().append('constructor', '1').append('__proto__', '2');
    expect([...metadata.keys()]).toEqual(['constructor', '__proto__']);
    expect(Object.entries(metadata.toJSON())).toEqual([
      ['constructor', ['1']],
      ['__proto__', ['2']],
    ]);
  });

  test.each<[string, string, unknown, string]>([
    [
      'a status',
      'grpc-status',
      '0',
      'the name "grpc-status" is reserved: a StatusError has a code',
    ],
    ['a timeout', 'grpc-timeout', '1S', 'a call takes a timeoutMs or deadline'],
    ['what gRPC may use one day', 'Grpc-X', '0', 'the name "grpc-x" is reserved: gRPC keeps all'],
    ['what HTTP needs', 'Content-Type', '0', 'the name "content-type" is reserved'],
    ['what HTTP/2 forbids', 'connection', '0', 'HTTP/2 has no such field'],
    ['the name of the client', 'user-agent', '0', 'a connection takes a userAgent'],
    ['a space in a name', 'x y', '0', 'the name "x y" has an illegal character U+0020'],
    ['an empty name', '', '0', 'a name is empty'],
    ['a pseudo-header', ':path', '/', 'the name ":path" has an illegal ":"'],
    ['a name in another script', 'größe', '1', 'the name "größe" has an illegal character U+00F6'],
    ['text that is not ASCII', 'x', 'größer', 'the value of "x" has an illegal character U+00F6'],
    ['an emoji', 'x', '🎈', 'the value of "x" has an illegal character U+1F388'],
    ['a line break', 'x', 'a\r\nb', 'the value of "x" has an illegal character U+000D'],
    ['text for bytes', 'x-bin', 'text', 'the value of "x-bin" is text, not a Uint8Array'],
    ['bytes for text', 'x', new Uint8Array(1), 'the value of "x" is a Uint8Array, not text'],
    ['a number', 'x', 1, 'the value of "x" is of type number, not text'],
    ['nothing', 'x', undefined, 'the value of "x" is undefined, not text'],
  ])('refuses %s', (_what, name, value, why) => {
    const metadata = new Metadata();
    for (const method of ['append', 'set'] as const) {
      expect(() => metadata[method](name, value as MetadataValue)).toThrow(why);
      expect(() => metadata[method](name, value as MetadataValue)).toThrow(
        expect.objectContaining({ code: 'MILLRACE_METADATA_INVALID' }),
      );
    }
    expect(metadata.size).toBe(0);
  });

  test.each(['grpc-retry-pushback-ms', 'grpc-status-details-bin', 'grpc-trace-bin'])(
    '%s is the application’s',
    (name) => {
      const value = name.endsWith('-bin') ? new Uint8Array([1]) : '5';
      expect(new Metadata().set(name, value).get(name)).toBe(value);
    },
  );

  test('what is refused leaves what was there', () => {
    const metadata = Metadata.from({ a: '1' });
    expect(() => metadata.set('a', 'ö')).toThrow('illegal');
    expect(metadata.get('a')).toBe('1');
  });
});

test('the compiler knows which values are bytes', () => {
  const metadata = new Metadata();
  const name: string = 'x-bin';
  expectTypeOf(metadata.get('x')).toEqualTypeOf<string | undefined>();
  expectTypeOf(metadata.get('x-bin')).toEqualTypeOf<Uint8Array | undefined>();
  expectTypeOf(metadata.get('X-Bin')).toEqualTypeOf<Uint8Array | undefined>();
  expectTypeOf(metadata.getAll('x-bin')).toEqualTypeOf<Uint8Array[]>();
  expectTypeOf(metadata.get(name)).toEqualTypeOf<MetadataValue | undefined>();
  metadata.append(name, new Uint8Array()).set('y', 'text').set('Y-BIN', new Uint8Array());
  // @ts-expect-error: bytes are wanted
  expect(() => metadata.set('x-bin', 'text')).toThrow('x-bin');
  // @ts-expect-error: text is wanted
  expect(() => metadata.append('x', new Uint8Array())).toThrow('"x"');
  // @ts-expect-error: bytes are wanted
  expect(() => Metadata.from({ 'x-bin': 'text' })).toThrow('x-bin');
  // @ts-expect-error: text or bytes are wanted
  expect(() => Metadata.from({ x: 1 })).toThrow('of type number');
});
