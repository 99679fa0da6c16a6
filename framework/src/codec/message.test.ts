// Encoding and decoding at their edges: errors and their paths, limits, memory.

import { describe, expect, test } from 'vitest';
import { type AnyMessageType, importGenerated } from '../cli/generate/modules.test-support.js';
import { HeapWriter, Writer } from './arena-writer.js';
import { DecodeError, EncodeError } from './errors.js';
import { fromBinary, toBinary } from './message.js';
import { Reader } from './reader.js';

const rich = await importGenerated('millrace/test/v1/rich.ts');
const { Scalars, Optionals, Repeated, Unpacked, Maps, Tree, Nothing } = rich as Record<
  'Scalars' | 'Optionals' | 'Repeated' | 'Unpacked' | 'Maps' | 'Tree' | 'Nothing',
  AnyMessageType
>;

function bytesOf(write: (writer: HeapWriter) => void): Uint8Array {
  const writer = new HeapWriter();
  writer.begin();
  write(writer);
  return writer.copy();
}

function failureOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  return 'no error';
}

describe('encode', () => {
  test.each<[AnyMessageType, unknown, string]>([
    [Scalars, { aUint32: -1 }, 'Scalars.aUint32: expected uint32, got -1'],
    [Scalars, { aUint32: 2 ** 32 }, 'Scalars.aUint32: expected uint32, got 4294967296'],
    [Scalars, { aInt32: 1.5 }, 'Scalars.aInt32: expected int32, got 1.5'],
    [Scalars, { aInt32: '1' }, 'Scalars.aInt32: expected int32, got "1"'],
    [Scalars, { aInt32: Number.NaN }, 'Scalars.aInt32: expected int32, got NaN'],
    [Scalars, { aInt32: 1n }, 'Scalars.aInt32: expected int32, got 1n'],
    [
      Scalars,
      { aInt64: 2 ** 53 },
      'Scalars.aInt64: expected int64 (bigint or safe integer), got 9007199254740992',
    ],
    [
      Scalars,
      { aSint64: 2n ** 63n },
      'Scalars.aSint64: expected sint64 (bigint or safe integer), got 9223372036854775808n',
    ],
    [
      Scalars,
      { aFixed64: -1 },
      'Scalars.aFixed64: expected fixed64 (bigint or safe integer), got -1',
    ],
    [Scalars, { aFloat: 1e39 }, 'Scalars.aFloat: expected float, got 1e+39'],
    [Scalars, { aDouble: null }, 'Scalars.aDouble: expected double, got null'],
    [Scalars, { aBool: 1 }, 'Scalars.aBool: expected bool, got 1'],
    [Scalars, { aString: 5 }, 'Scalars.aString: expected string, got 5'],
    [Scalars, { aBytes: [1, 2] }, 'Scalars.aBytes: expected bytes (Uint8Array), got an array'],
    [Scalars, { aBytes: 'ab' }, 'Scalars.aBytes: expected bytes (Uint8Array), got "ab"'],
    [
      Scalars,
      { aColour: 'COLOUR_RED' },
      'Scalars.aColour: expected enum (int32), got "COLOUR_RED"',
    ],
    [Scalars, 'text', 'Scalars: expected an object (Scalars), got "text"'],
    [Scalars, null, 'Scalars: expected an object (Scalars), got null'],
    [Scalars, undefined, 'Scalars: expected an object (Scalars), got undefined'],
    [Nothing, 5, 'Nothing: expected an object (Nothing), got 5'],
    [Optionals, { scalars: 'x' }, 'Optionals.scalars: expected an object (Scalars), got "x"'],
    [Optionals, { aString: null }, 'Optionals.aString: expected string, got null'],
    [Repeated, { aInt32: [1, -1, 2 ** 31] }, 'Repeated.aInt32[2]: expected int32, got 2147483648'],
    [Repeated, { aString: 'abc' }, 'Repeated.aString: expected an array, got "abc"'],
    [Repeated, { aInt32: new Set([1]) }, 'Repeated.aInt32: expected an array, got an object (Set)'],
    [Repeated, { aBool: [true, undefined] }, 'Repeated.aBool[1]: expected bool, got undefined'],
    [
      Repeated,
      { scalars: [{}, {}, { aUint32: 'x' }] },
      'Repeated.scalars[2].aUint32: expected uint32, got "x"',
    ],
    [Unpacked, { aSint32: [0.5] }, 'Unpacked.aSint32[0]: expected sint32, got 0.5'],
    [Maps, { labels: ['a'] }, 'Maps.labels: expected a Map or an object, got an array'],
    [Maps, { labels: { a: 1 } }, 'Maps.labels["a"]: expected string, got 1'],
    [Maps, { byInt32: { 1: 'a' } }, 'Maps.byInt32: expected a Map, got an object (Object)'],
    [
      Maps,
      { byInt32: new Map([['1', 'a']]) },
      'Maps.byInt32: expected keys of type int32, got "1"',
    ],
    [
      Tree,
      { children: [{ named: { x: { leaf: { name: 5 } } } }] },
      'Tree.children[0].named["x"].leaf.name: expected string, got 5',
    ],
    [Tree, { choice: { case: 'text', value: 5 } }, 'Tree.choice.value: expected string, got 5'],
    [Tree, { choice: 'text' }, 'Tree.choice: expected { case, value }, got "text"'],
    [
      Tree,
      { only: { case: 'other', value: {} } },
      'Tree.only.case: expected \'self\', got "other"',
    ],
    [
      Tree,
      { next: { choice: { case: 'picked', value: { shape: 1.5 } } } },
      'Tree.next.choice.value.shape: expected enum (int32), got 1.5',
    ],
  ])('%# names the field', (type, message, text) => {
    expect(() => toBinary(type, message)).toThrow(EncodeError);
    expect(failureOf(() => toBinary(type, message))).toBe(text);
  });

  test('the path is a property of its own', () => {
    try {
      toBinary(Repeated, { aInt32: ['x'] });
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ path: 'aInt32[0]', code: 'MILLRACE_ENCODE' });
    }
  });

  test('a cycle is found', () => {
    const tree: { next?: unknown } = {};
    tree.next = tree;
    expect(() => toBinary(Tree, tree)).toThrow('nested deeper than 100; is there a cycle?');
  });

  test('64-bit fields take safe integers', () => {
    const given = {
      aInt64: -(2 ** 53 - 1),
      aUint64: 2 ** 53 - 1,
      aSint64: -3,
      aSfixed64: -(2 ** 40),
    };
    expect(fromBinary(Scalars, toBinary(Scalars, given))).toMatchObject({
      aInt64: -(2n ** 53n - 1n),
      aUint64: 2n ** 53n - 1n,
      aSint64: -3n,
      aSfixed64: -(2n ** 40n),
    });
  });

  test('a lone surrogate becomes U+FFFD', () => {
    const long = 'x'.repeat(40);
    for (const head of ['a', long]) {
      const { aString } = fromBinary(Scalars, toBinary(Scalars, { aString: `${head}\ud800` }));
      expect(aString).toBe(`${head}\ufffd`);
    }
  });

  test('text of every length comes back, one byte or more a character', () => {
    for (let length = 0; length < 300; length++) {
      for (const unit of ['a', 'é', '€', '𝄞']) {
        const aString = unit.repeat(length);
        expect(fromBinary(Scalars, toBinary(Scalars, { aString })).aString).toBe(aString);
      }
    }
  });

  test('-0 is written, since it is not the default', () => {
    const message = fromBinary(Scalars, toBinary(Scalars, { aDouble: -0, aFloat: -0 }));
    expect(message).toMatchObject({ aDouble: -0, aFloat: -0 });
  });

  test('members that every object inherits are not taken for fields', async () => {
    const reserved = await importGenerated('millrace/test/v1/reserved.ts');
    const { Array$ } = reserved;
    if (!Array$) throw new Error('Array$ was not generated');
    expect(toBinary(Array$, {})).toEqual(new Uint8Array(0));
    const message = Array$.create({
      default: 'a',
      constructor$: 'b',
      toString$: 'c',
      undefined: new Uint8Array(1),
    });
    expect(fromBinary(Array$, toBinary(Array$, message))).toEqual(message);
    expect(Array$.toJson(message)).toEqual({
      default: 'a',
      constructor: 'b',
      toString: 'c',
      undefined: 'AA==',
    });
    expect(Array$.fromJson(Array$.toJson(message))).toEqual(message);
  });
});

describe('Writer', () => {
  class Fixed extends Writer {
    protected override overflow(need: number): void {
      throw new RangeError(`no room for ${need}`);
    }
  }

  test('writes between start and end, and takes back a message that failed', () => {
    const memory = new Uint8Array(64).fill(0xee);
    const writer = new Fixed(memory, 10, 40);
    writer.begin();
    Scalars.encode({ aInt32: 5 }, writer);
    expect(writer.finish()).toBe(2);
    writer.begin();
    expect(() => Scalars.encode({ aInt32: 5, aString: 1 }, writer)).toThrow(EncodeError);
    expect(writer.finish()).toBe(2);
    writer.rollback();
    expect(writer.finish()).toBe(0);
    expect(writer.pos).toBe(12);
    expect(() => Scalars.encode({ aBytes: new Uint8Array(40) }, writer)).toThrow('no room');
    expect(memory.subarray(0, 10)).toEqual(new Uint8Array(10).fill(0xee));
    expect(memory.subarray(40)).toEqual(new Uint8Array(24).fill(0xee));
  });

  test('moving memory in the middle of nested messages changes nothing', () => {
    let moves = 0;
    /** Moves to new memory whenever it is asked, with just the room that is needed. */
    class Restless extends Writer {
      protected override overflow(need: number): void {
        moves++;
        const length = this.pos - this.start;
        const bytes = new Uint8Array(7 + length + need);
        bytes.set(this.bytes.subarray(this.start, this.pos), 7);
        this.bytes = bytes;
        this.start = 7;
        this.pos = 7 + length;
        this.end = bytes.length;
      }
    }
    let tree: unknown = { leaf: { name: 'x'.repeat(130) } };
    for (let depth = 0; depth < 20; depth++) {
      tree = {
        next: tree,
        named: { n: { behind: depth } },
        choice: { case: 'text', value: 'é'.repeat(70) },
      };
    }
    const writer = new Restless(new Uint8Array(0));
    writer.begin();
    Tree.encode(tree, writer);
    expect(moves).toBeGreaterThan(20);
    const written = writer.bytes.slice(writer.start, writer.pos);
    expect(written).toEqual(toBinary(Tree, tree));
    expect(fromBinary(Tree, written)).toEqual(Tree.create(tree));
  });
});

describe('decode', () => {
  test.each<[string, number[], string]>([
    ['a tag without a value', [0x18], 'Scalars.aInt32: truncated'],
    ['a varint of eleven bytes', [0x18, ...Array<number>(10).fill(0xff), 1], 'invalid varint'],
    ['text longer than the message', [0x72, 5, 0x61], 'Scalars.aString: truncated'],
    ['text of 4 GiB', [0x72, 0xff, 0xff, 0xff, 0xff, 0x0f], 'Scalars.aString: truncated'],
    ['bytes longer than the message', [0x7a, 2, 1], 'Scalars.aBytes: truncated'],
    ['half a double', [0x09, 1, 2, 3, 4], 'Scalars.aDouble: truncated'],
    ['half a fixed32', [0x4d, 1, 2], 'Scalars.aFixed32: truncated'],
    ['field number 0', [0x02, 0], 'invalid field number 0'],
    ['wire type 6', [0x1e], 'invalid wire type 6 of field 3'],
    ['wire type 7 of an unknown field', [0xbf, 0x3f], 'invalid wire type 7'],
    ['a tag of more than 32 bits', [0xff, 0xff, 0xff, 0xff, 0x7f, 0], 'invalid tag'],
    ['a group that does not end', [0xc3, 0x3e, 0x08, 1], 'truncated'],
    ['a group that ends as another', [0xc3, 0x3e, 0xcc, 0x3e], 'inside group'],
    ['the end of no group', [0xc4, 0x3e], 'without its start'],
    ['text that is no UTF-8', [0x72, 2, 0xc3, 0x28], 'Scalars.aString: invalid UTF-8'],
    ['a surrogate in UTF-8', [0x72, 3, 0xed, 0xa0, 0x80], 'Scalars.aString: invalid UTF-8'],
  ])('%s is an error', (_, bytes, text) => {
    expect(() => fromBinary(Scalars, new Uint8Array(bytes))).toThrow(DecodeError);
    expect(() => fromBinary(Scalars, new Uint8Array(bytes))).toThrow(text);
  });

  test('an error names the whole path', () => {
    const bytes = toBinary(Tree, { children: [{ named: { x: { leaf: { name: 'hello!' } } } }] });
    // The text is the last of the message.
    bytes[bytes.length - 1] = 0xff;
    expect(() => fromBinary(Tree, bytes)).toThrow('Tree.children.named.leaf.name: invalid UTF-8');
  });

  test('U+FFFD itself is valid text', () => {
    const aString = '\ufffd'.repeat(30);
    expect(fromBinary(Scalars, toBinary(Scalars, { aString })).aString).toBe(aString);
  });

  test('messages may be nested 100 deep', () => {
    const nested = (depth: number): Uint8Array => {
      let bytes = new Uint8Array(0);
      for (let level = 1; level < depth; level++) {
        const inner = bytes;
        bytes = new Uint8Array(bytesOf((writer) => writer.bytesField((4 << 3) | 2, inner)));
      }
      return bytes;
    };
    const deepest = fromBinary(Tree, nested(100));
    expect(toBinary(Tree, deepest)).toEqual(nested(100));
    expect(() => fromBinary(Tree, nested(101))).toThrow('nested deeper than 100');
    expect(() => toBinary(Tree, { next: deepest })).toThrow('nested deeper than 100');
    const group = Array<number>(150)
      .fill(0xc3)
      .flatMap((byte) => [byte, 0x3e]);
    expect(() => fromBinary(Tree, new Uint8Array(group))).toThrow('groups nested deeper');
  });

  test('a reader that failed reads the next message', () => {
    const reader = new Reader();
    const bad = new Uint8Array([0x1a, 2, 0x1a, 5]);
    for (let count = 0; count < 200; count++) {
      expect(() => Tree.decode(reader.set(bad, 0, 4), 4)).toThrow(DecodeError);
    }
    const good = toBinary(Tree, { next: { behind: 1 } });
    expect(Tree.decode(reader.set(good, 0, good.length), good.length).next.behind).toBe(1);
  });

  test('a field of another wire type is skipped like an unknown one', () => {
    const bytes = bytesOf((writer) => {
      writer.string((3 << 3) | 2, 'no number');
      writer.uint32(14 << 3, 7);
      writer.int32(3 << 3, 9);
    });
    expect(fromBinary(Scalars, bytes)).toEqual(Scalars.create({ aInt32: 9 }));
  });

  test('packed and unpacked values may be mixed', () => {
    const message = Repeated.create({
      aInt32: [1, -2, 3],
      aSint64: [-5n],
      aBool: [true, false],
      aColour: [1, 9],
    });
    const packed = toBinary(Repeated, message);
    const unpacked = toBinary(Unpacked, message);
    expect(fromBinary(Unpacked, packed)).toEqual(message);
    expect(fromBinary(Repeated, unpacked)).toEqual(message);
    const both = new Uint8Array([...packed, ...unpacked]);
    expect(fromBinary(Repeated, both).aInt32).toEqual([1, -2, 3, 1, -2, 3]);
  });

  test('a message in several parts is merged', () => {
    const first = toBinary(Tree, {
      next: { behind: 1, leaf: { name: 'a' }, children: [{}], named: { x: {} } },
      choice: { case: 'picked', value: { name: 'p' } },
    });
    const second = toBinary(Tree, {
      next: { leaf: { shape: 1 }, children: [{}], named: { y: {} } },
      choice: { case: 'picked', value: { shape: 1 } },
    });
    const merged = fromBinary(Tree, new Uint8Array([...first, ...second]));
    expect(merged).toEqual(
      Tree.create({
        next: {
          behind: 1,
          leaf: { name: 'a', shape: 1 },
          children: [{}, {}],
          named: { x: {}, y: {} },
        },
        choice: { case: 'picked', value: { name: 'p', shape: 1 } },
      }),
    );
  });

  test('of a oneof the last member counts', () => {
    const bytes = new Uint8Array([
      ...toBinary(Tree, { choice: { case: 'text', value: 'a' } }),
      ...toBinary(Tree, { choice: { case: 'flag', value: false } }),
    ]);
    expect(fromBinary(Tree, bytes).choice).toEqual({ case: 'flag', value: false });
  });

  test('a map entry without key or value has their defaults', () => {
    const bytes = bytesOf((writer) => {
      writer.bytesField((13 << 3) | 2, new Uint8Array(0));
      writer.bytesField((12 << 3) | 2, new Uint8Array(0));
    });
    const message = fromBinary(Maps, bytes);
    expect(message.labels).toEqual(new Map([['', '']]));
    expect(message.byString).toEqual(new Map([['', Scalars.create()]]));
  });

  test('bytes are copies, whatever their length', () => {
    for (const length of [1, 64, 65, 4096, 4097, 20000]) {
      const bytes = toBinary(Scalars, { aBytes: new Uint8Array(length).fill(1) });
      const { aBytes } = fromBinary(Scalars, bytes);
      expect(aBytes.buffer).not.toBe(bytes.buffer);
      bytes.fill(2);
      expect(aBytes).toEqual(new Uint8Array(length).fill(1));
      expect(Buffer.isBuffer(aBytes)).toBe(false);
    }
  });

  test('a Buffer is read like any Uint8Array', () => {
    const bytes = Buffer.from(toBinary(Scalars, { aBytes: new Uint8Array(10), aString: 'x' }));
    const { aBytes } = fromBinary(Scalars, bytes);
    expect(Buffer.isBuffer(aBytes)).toBe(false);
    expect(aBytes).toEqual(new Uint8Array(10));
  });

  test('a reader refuses a piece outside of its memory', () => {
    const reader = new Reader();
    for (const [offset, length] of [
      [-1, 1],
      [0, 5],
      [4, 1],
      [0, -1],
    ] as const) {
      expect(() => reader.set(new Uint8Array(4), offset, length)).toThrow(RangeError);
    }
    reader.set(new Uint8Array(4), 0, 4);
    expect(() => Scalars.decode(reader, 5)).toThrow(DecodeError);
  });
});

describe('create and equals', () => {
  test('create fills in defaults and takes what is given in part', () => {
    expect(Maps.create({ labels: { a: 'b' }, byUint64: new Map([[1, 2]]) })).toMatchObject({
      labels: new Map([['a', 'b']]),
      byUint64: new Map([[1n, 2n]]),
      byInt32: new Map(),
    });
    expect(Tree.create({ leaf: {} }).leaf).toEqual({ shape: 0, name: '' });
  });

  test('equals looks at every field', () => {
    const init = {
      leaf: { name: 'x' },
      children: [{ behind: 1 }],
      named: { a: { behind: 2 } },
      choice: { case: 'data', value: new Uint8Array([1, 2]) },
    };
    const a = Tree.create(init);
    expect(Tree.equals(a, Tree.create(init))).toBe(true);
    const others = [
      { ...init, leaf: undefined },
      { ...init, leaf: { name: 'y' } },
      { ...init, children: [] },
      { ...init, children: [{ behind: 2 }] },
      { ...init, named: { b: { behind: 2 } } },
      { ...init, named: { a: { behind: 3 } } },
      { ...init, choice: undefined },
      { ...init, choice: { case: 'data', value: new Uint8Array([1, 3]) } },
      { ...init, choice: { case: 'text', value: '' } },
      { ...init, behind: 1 },
    ];
    for (const other of others) expect(Tree.equals(a, Tree.create(other))).toBe(false);
    const nan = Scalars.create({ aDouble: Number.NaN });
    expect(Scalars.equals(nan, Scalars.create({ aDouble: Number.NaN }))).toBe(true);
  });
});
