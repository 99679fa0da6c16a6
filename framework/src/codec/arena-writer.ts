import { EncodeError } from './errors.js';
import { RECURSION_LIMIT } from './reader.js';
import { utf8Write } from './utf8.js';

const longs = new BigUint64Array(1);
const signedLongs = new BigInt64Array(longs.buffer);
const doubles = new Float64Array(longs.buffer);
const floats = new Float32Array(longs.buffer);
/** The halves of a long in memory order; every platform of Node is little-endian. */
const words = new Uint32Array(longs.buffer);

/** Up to this many characters, a loop is faster than a call into native code. */
const SHORT_TEXT = 20;
/** Up to this many bytes, a loop is faster than `set`. */
const SHORT_BYTES = 16;

/**
 * Thrown where a value is found to be wrong; the generated code turns it into an EncodeError that
 * names the field, by looking through the message once more. It has no trace: it never gets out.
 */
const INVALID = new EncodeError('invalid value', '', '');

/**
 * Writes protobuf values straight into a Uint8Array, between `pos` and `end`.
 *
 * Where the memory comes from is the subclass's concern: `overflow` is called when a value does not
 * fit and has to make room, moving the message written so far if it must. A message goes
 * `begin()`, `type.encode(message, writer)`, `finish()`; `rollback()` takes back what a throwing
 * encode has left.
 *
 * The methods take the field's tag (number × 8 + wire type) and check type and range.
 *
 * @internal
 */
export abstract class Writer {
  bytes: Uint8Array;
  /** Where the current message begins. */
  start: number;
  pos: number;
  /** The first index that must not be written. */
  end: number;
  private depth: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.start = start;
    this.pos = start;
    this.end = end;
    this.depth = 0;
  }

  /**
   * Makes room for `need` bytes at `pos`: on return `pos + need <= end` must hold. The bytes from
   * `start` to `pos` are the message so far; they may move, with `bytes`, `start`, `pos` and `end`
   * set accordingly.
   */
  protected abstract overflow(need: number): void;

  /** Begins a message at `pos`. */
  begin(): void {
    this.start = this.pos;
    this.depth = 0;
  }

  /** The length of the message since `begin`. */
  finish(): number {
    return this.pos - this.start;
  }

  /** Takes back everything since `begin`. */
  rollback(): void {
    this.pos = this.start;
  }

  /** Begins a nested message; the result is for `join`. */
  fork(tag: number): number {
    // The outermost message counts too, as it does for the reader.
    if (++this.depth >= RECURSION_LIMIT) throw INVALID;
    return this.open(tag);
  }

  /** Ends the nested message that `fork` began: puts its length in front of it. */
  join(mark: number): void {
    this.depth--;
    this.close(mark);
  }

  /** Writes the tag and leaves a byte for the length; the result is relative, since bytes may move. */
  private open(tag: number): number {
    this.reserve(6);
    this.tag(tag);
    return ++this.pos - this.start;
  }

  private close(mark: number): void {
    const start = this.start + mark;
    const length = this.pos - start;
    if (length < 0x80) this.bytes[start - 1] = length;
    else this.joinLong(mark, length);
  }

  uint32(tag: number, value: number): void {
    if (value >>> 0 !== value) throw INVALID;
    this.reserve(10);
    this.tag(tag);
    this.varint(value);
  }

  int32(tag: number, value: number): void {
    if ((value | 0) !== value) throw INVALID;
    this.reserve(15);
    this.tag(tag);
    if (value >= 0) this.varint(value);
    else this.negative(value);
  }

  sint32(tag: number, value: number): void {
    if ((value | 0) !== value) throw INVALID;
    this.reserve(10);
    this.tag(tag);
    this.varint(((value << 1) ^ (value >> 31)) >>> 0);
  }

  bool(tag: number, value: boolean): void {
    if (typeof value !== 'boolean') throw INVALID;
    this.reserve(6);
    this.tag(tag);
    this.bytes[this.pos++] = value ? 1 : 0;
  }

  uint64(tag: number, value: bigint | number): void {
    setUnsigned(value);
    this.reserve(15);
    this.tag(tag);
    this.varint64();
  }

  int64(tag: number, value: bigint | number): void {
    setSigned(value);
    this.reserve(15);
    this.tag(tag);
    this.varint64();
  }

  sint64(tag: number, value: bigint | number): void {
    setSigned(value);
    zigzag();
    this.reserve(15);
    this.tag(tag);
    this.varint64();
  }

  fixed32(tag: number, value: number): void {
    if (value >>> 0 !== value) throw INVALID;
    this.reserve(9);
    this.tag(tag);
    this.word(value);
  }

  sfixed32(tag: number, value: number): void {
    if ((value | 0) !== value) throw INVALID;
    this.reserve(9);
    this.tag(tag);
    this.word(value);
  }

  fixed64(tag: number, value: bigint | number): void {
    setUnsigned(value);
    this.reserve(13);
    this.tag(tag);
    this.word(words[0]!);
    this.word(words[1]!);
  }

  sfixed64(tag: number, value: bigint | number): void {
    setSigned(value);
    this.reserve(13);
    this.tag(tag);
    this.word(words[0]!);
    this.word(words[1]!);
  }

  float(tag: number, value: number): void {
    setFloat(value);
    this.reserve(9);
    this.tag(tag);
    this.word(words[0]!);
  }

  double(tag: number, value: number): void {
    if (typeof value !== 'number') throw INVALID;
    this.reserve(13);
    this.tag(tag);
    doubles[0] = value;
    this.word(words[0]!);
    this.word(words[1]!);
  }

  /** Lone surrogates are written as U+FFFD: they have no UTF-8 form. */
  string(tag: number, value: string): void {
    if (typeof value !== 'string') throw INVALID;
    const { length } = value;
    if (length > SHORT_TEXT) {
      this.longString(tag, value);
      return;
    }
    this.reserve(3 * SHORT_TEXT + 6);
    this.tag(tag);
    const { bytes } = this;
    const start = this.pos + 1;
    for (let index = 0; index < length; index++) {
      const unit = value.charCodeAt(index);
      if (unit > 0x7f) {
        this.text(value);
        return;
      }
      bytes[start + index] = unit;
    }
    bytes[start - 1] = length;
    this.pos = start + length;
  }

  bytesField(tag: number, value: Uint8Array): void {
    if (!isBytes(value)) throw INVALID;
    const { length } = value;
    this.reserve(10 + length);
    this.tag(tag);
    this.varint(length);
    const { bytes, pos } = this;
    if (length > SHORT_BYTES) bytes.set(value, pos);
    else for (let index = 0; index < length; index++) bytes[pos + index] = value[index]!;
    this.pos = pos + length;
  }

  packedUint32(tag: number, values: readonly number[]): void {
    const mark = this.openPacked(tag, values);
    for (let index = 0; index < values.length; index++) {
      const value = values[index]!;
      if (value >>> 0 !== value) throw INVALID;
      this.reserve(5);
      this.varint(value);
    }
    this.closePacked(mark);
  }

  packedInt32(tag: number, values: readonly number[]): void {
    const mark = this.openPacked(tag, values);
    for (let index = 0; index < values.length; index++) {
      const value = values[index]!;
      if ((value | 0) !== value) throw INVALID;
      this.reserve(10);
      if (value >= 0) this.varint(value);
      else this.negative(value);
    }
    this.closePacked(mark);
  }

  packedSint32(tag: number, values: readonly number[]): void {
    const mark = this.openPacked(tag, values);
    for (let index = 0; index < values.length; index++) {
      const value = values[index]!;
      if ((value | 0) !== value) throw INVALID;
      this.reserve(5);
      this.varint(((value << 1) ^ (value >> 31)) >>> 0);
    }
    this.closePacked(mark);
  }

  packedBool(tag: number, values: readonly boolean[]): void {
    const mark = this.openPacked(tag, values);
    this.reserve(values.length);
    for (let index = 0; index < values.length; index++) {
      const value = values[index]!;
      if (typeof value !== 'boolean') throw INVALID;
      this.bytes[this.pos++] = value ? 1 : 0;
    }
    this.closePacked(mark);
  }

  packedUint64(tag: number, values: readonly (bigint | number)[]): void {
    const mark = this.openPacked(tag, values);
    for (let index = 0; index < values.length; index++) {
      setUnsigned(values[index]!);
      this.reserve(10);
      this.varint64();
    }
    this.closePacked(mark);
  }

  packedInt64(tag: number, values: readonly (bigint | number)[]): void {
    const mark = this.openPacked(tag, values);
    for (let index = 0; index < values.length; index++) {
      setSigned(values[index]!);
      this.reserve(10);
      this.varint64();
    }
    this.closePacked(mark);
  }

  packedSint64(tag: number, values: readonly (bigint | number)[]): void {
    const mark = this.openPacked(tag, values);
    for (let index = 0; index < values.length; index++) {
      setSigned(values[index]!);
      zigzag();
      this.reserve(10);
      this.varint64();
    }
    this.closePacked(mark);
  }

  packedFixed32(tag: number, values: readonly number[]): void {
    const mark = this.openPacked(tag, values);
    this.reserve(4 * values.length);
    for (let index = 0; index < values.length; index++) {
      const value = values[index]!;
      if (value >>> 0 !== value) throw INVALID;
      this.word(value);
    }
    this.closePacked(mark);
  }

  packedSfixed32(tag: number, values: readonly number[]): void {
    const mark = this.openPacked(tag, values);
    this.reserve(4 * values.length);
    for (let index = 0; index < values.length; index++) {
      const value = values[index]!;
      if ((value | 0) !== value) throw INVALID;
      this.word(value);
    }
    this.closePacked(mark);
  }

  packedFixed64(tag: number, values: readonly (bigint | number)[]): void {
    const mark = this.openPacked(tag, values);
    this.reserve(8 * values.length);
    for (let index = 0; index < values.length; index++) {
      setUnsigned(values[index]!);
      this.word(words[0]!);
      this.word(words[1]!);
    }
    this.closePacked(mark);
  }

  packedSfixed64(tag: number, values: readonly (bigint | number)[]): void {
    const mark = this.openPacked(tag, values);
    this.reserve(8 * values.length);
    for (let index = 0; index < values.length; index++) {
      setSigned(values[index]!);
      this.word(words[0]!);
      this.word(words[1]!);
    }
    this.closePacked(mark);
  }

  packedFloat(tag: number, values: readonly number[]): void {
    const mark = this.openPacked(tag, values);
    this.reserve(4 * values.length);
    for (let index = 0; index < values.length; index++) {
      setFloat(values[index]!);
      this.word(words[0]!);
    }
    this.closePacked(mark);
  }

  packedDouble(tag: number, values: readonly number[]): void {
    const mark = this.openPacked(tag, values);
    this.reserve(8 * values.length);
    for (let index = 0; index < values.length; index++) {
      const value = values[index]!;
      if (typeof value !== 'number') throw INVALID;
      doubles[0] = value;
      this.word(words[0]!);
      this.word(words[1]!);
    }
    this.closePacked(mark);
  }

  /** Begins a packed field, which is left out if it has no values. */
  private openPacked(tag: number, values: readonly unknown[]): number {
    if (!Array.isArray(values)) throw INVALID;
    return values.length === 0 ? -1 : this.open(tag);
  }

  private closePacked(mark: number): void {
    if (mark >= 0) this.close(mark);
  }

  private longString(tag: number, value: string): void {
    // A UTF-16 unit takes three bytes at most; 10 are for the tag and the length.
    if (this.pos + 10 + 3 * value.length > this.end) this.reserve(10 + Buffer.byteLength(value));
    this.tag(tag);
    this.text(value);
  }

  /** Writes the length and the text, for which there is room. */
  private text(value: string): void {
    const { bytes, pos } = this;
    // Most text is ASCII: its length's prefix is as long as that of the number of characters.
    const prefix = varintLength(value.length);
    const start = pos + prefix;
    const length = utf8Write.call(bytes, value, start, this.end - start);
    const actual = varintLength(length);
    if (actual !== prefix) bytes.copyWithin(pos + actual, start, start + length);
    this.varint(length);
    this.pos = pos + actual + length;
  }

  private reserve(need: number): void {
    if (this.pos + need > this.end) this.overflow(need);
  }

  private tag(tag: number): void {
    if (tag < 0x80) this.bytes[this.pos++] = tag;
    else this.varint(tag);
  }

  private varint(value: number): void {
    const { bytes } = this;
    let { pos } = this;
    while (value > 0x7f) {
      bytes[pos++] = (value & 0x7f) | 0x80;
      value >>>= 7;
    }
    bytes[pos++] = value;
    this.pos = pos;
  }

  private negative(value: number): void {
    words[0] = value;
    words[1] = 0xffffffff;
    this.varint64();
  }

  /** Writes `words`. */
  private varint64(): void {
    const { bytes } = this;
    let { pos } = this;
    let low = words[0]!;
    let high = words[1]!;
    while (high !== 0) {
      bytes[pos++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    while (low > 0x7f) {
      bytes[pos++] = (low & 0x7f) | 0x80;
      low >>>= 7;
    }
    bytes[pos++] = low;
    this.pos = pos;
  }

  private word(value: number): void {
    const { bytes, pos } = this;
    bytes[pos] = value;
    bytes[pos + 1] = value >>> 8;
    bytes[pos + 2] = value >>> 16;
    bytes[pos + 3] = value >>> 24;
    this.pos = pos + 4;
  }

  private joinLong(mark: number, length: number): void {
    const extra = varintLength(length) - 1;
    this.reserve(extra);
    const start = this.start + mark;
    const end = start + length;
    this.bytes.copyWithin(start + extra, start, end);
    this.pos = start - 1;
    this.varint(length);
    this.pos = end + extra;
  }
}

/** A writer with memory of its own, doubled as needed. @internal */
export class HeapWriter extends Writer {
  constructor(capacity = 1024) {
    super(new Uint8Array(capacity));
  }

  /** A copy of the message since `begin`. */
  copy(): Uint8Array {
    return this.bytes.slice(this.start, this.pos);
  }

  protected override overflow(need: number): void {
    const length = this.pos - this.start;
    const grown = new Uint8Array(Math.max(2 * this.bytes.length, length + need));
    grown.set(this.bytes.subarray(this.start, this.pos));
    this.bytes = grown;
    this.start = 0;
    this.pos = length;
    this.end = grown.length;
  }
}

/** How many bytes the varint of a value below 2^32 takes. */
function varintLength(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  return value < 0x10000000 ? 4 : 5;
}

function setUnsigned(value: bigint | number): void {
  if (typeof value === 'bigint') {
    longs[0] = value;
    if (longs[0] !== value) throw INVALID;
  } else if (Number.isSafeInteger(value) && value >= 0) {
    words[0] = value;
    words[1] = value / 0x100000000;
  } else throw INVALID;
}

function setSigned(value: bigint | number): void {
  if (typeof value === 'bigint') {
    signedLongs[0] = value;
    if (signedLongs[0] !== value) throw INVALID;
  } else if (Number.isSafeInteger(value)) {
    words[0] = value;
    words[1] = Math.floor(value / 0x100000000);
  } else throw INVALID;
}

/** -0, 1, -1, 2 … in `words` becomes 0, 1, 2, 3 …: the sign goes into the lowest bit. */
function zigzag(): void {
  const low = words[0]!;
  const high = words[1]! | 0;
  const sign = high >> 31;
  words[0] = (low << 1) ^ sign;
  words[1] = ((high << 1) | (low >>> 31)) ^ sign;
}

function setFloat(value: number): void {
  if (typeof value !== 'number') throw INVALID;
  floats[0] = value;
  if (!Number.isFinite(floats[0]) && Number.isFinite(value)) throw INVALID;
}

/** What generated code throws where a value is wrong. @internal */
export function invalid(): EncodeError {
  return INVALID;
}

/** The values of a repeated field; anything but an array is refused. @internal */
export function list<T>(values: readonly T[]): readonly T[] {
  if (!Array.isArray(values)) throw INVALID;
  return values;
}

/** The entries of a map: of a Map, or for string keys of a plain object. @internal */
export function entries<K, V>(
  map: ReadonlyMap<K, V> | Readonly<Record<string, V>>,
): Iterable<readonly [K, V]> {
  if (map instanceof Map) return map;
  if (typeof map !== 'object' || Array.isArray(map)) throw INVALID;
  return Object.entries(map) as Iterable<readonly [never, V]>;
}

function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array;
}
