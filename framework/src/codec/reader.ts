import { isUtf8 } from 'node:buffer';
import { markAsUntransferable } from 'node:worker_threads';
import { copies } from './copies.js';
import { DecodeError } from './errors.js';
import { utf8Slice } from './utf8.js';

/** Messages nested deeper than this are refused, as by protobuf's other implementations. @internal */
export const RECURSION_LIMIT = 100;

/** What an absent `bytes` field holds. Shared: an empty array has nothing that could be changed. @internal */
export const EMPTY_BYTES: Uint8Array = new Uint8Array(0);

const longs = new BigUint64Array(1);
const signedLongs = new BigInt64Array(longs.buffer);
const doubles = new Float64Array(longs.buffer);
const floats = new Float32Array(longs.buffer);
/** The halves of a long in memory order; every platform of Node is little-endian. */
const words = new Uint32Array(longs.buffer);

/**
 * Reads protobuf values from a piece of a Uint8Array. One Reader serves all messages of a thread:
 * `set` puts it onto the next piece and nothing is allocated.
 *
 * It reads no byte at or behind `end`: what lies there belongs to somebody else. Every value it
 * returns is a copy.
 *
 * @internal
 */
export class Reader {
  /** Never a Buffer: V8 compiles the reading for one kind of array. */
  bytes: Uint8Array;
  pos: number;
  /** The end of the innermost message that is being read. */
  end: number;
  private depth: number;
  /** What `set` was given last, which is `bytes` but for a Buffer. */
  private given: Uint8Array;

  constructor(bytes: Uint8Array = EMPTY_BYTES) {
    this.bytes = plain(bytes);
    this.pos = 0;
    this.end = bytes.length;
    this.depth = 0;
    this.given = bytes;
  }

  /** Puts the reader onto `length` bytes at `offset`. @throws RangeError if they are not inside. */
  set(bytes: Uint8Array, offset: number, length: number): this {
    const end = offset + length;
    if (offset < 0 || length < 0 || end > bytes.length) throw outside(bytes, offset, length);
    if (bytes !== this.given) {
      this.given = bytes;
      this.bytes = plain(bytes);
    }
    this.pos = offset;
    this.end = end;
    this.depth = 0;
    return this;
  }

  /**
   * Enters a message of `length` bytes: until `leave`, nothing behind it can be read. Returns the
   * end of the message around it, for `leave`.
   */
  enter(length: number): number {
    const outer = this.end;
    const end = this.pos + length;
    if (end > outer) throw truncated();
    if (++this.depth > RECURSION_LIMIT) {
      throw new DecodeError(`messages nested deeper than ${RECURSION_LIMIT}`, '', '');
    }
    this.end = end;
    return outer;
  }

  /** Leaves the message that `enter` entered. */
  leave(outer: number): void {
    this.end = outer;
    this.depth--;
  }

  /** Enters a packed field: reads its length. Returns what `widen` takes. */
  narrow(): number {
    const length = this.uint32();
    const outer = this.end;
    const end = this.pos + length;
    if (end > outer) throw truncated();
    this.end = end;
    return outer;
  }

  /** Leaves the packed field that `narrow` entered. */
  widen(outer: number): void {
    this.end = outer;
  }

  /** A field's number × 8 + its wire type. */
  tag(): number {
    const pos = this.pos;
    if (pos < this.end) {
      const byte = this.bytes[pos]!;
      if (byte < 0x80 && byte > 7) {
        this.pos = pos + 1;
        return byte;
      }
    }
    return this.longTag();
  }

  uint32(): number {
    const pos = this.pos;
    if (pos < this.end) {
      const byte = this.bytes[pos]!;
      if (byte < 0x80) {
        this.pos = pos + 1;
        return byte;
      }
    }
    return this.longUint32();
  }

  int32(): number {
    return this.uint32() | 0;
  }

  sint32(): number {
    const value = this.uint32();
    return (value >>> 1) ^ -(value & 1);
  }

  bool(): boolean {
    const pos = this.pos;
    if (pos < this.end) {
      const byte = this.bytes[pos]!;
      if (byte < 0x80) {
        this.pos = pos + 1;
        return byte !== 0;
      }
    }
    this.varint64();
    return words[0]! !== 0 || words[1]! !== 0;
  }

  uint64(): bigint {
    this.varint64();
    return longs[0]!;
  }

  int64(): bigint {
    this.varint64();
    return signedLongs[0]!;
  }

  sint64(): bigint {
    this.varint64();
    const low = words[0]!;
    const high = words[1]!;
    const sign = -(low & 1);
    words[0] = ((low >>> 1) | (high << 31)) ^ sign;
    words[1] = (high >>> 1) ^ sign;
    return signedLongs[0]!;
  }

  fixed32(): number {
    return this.word() >>> 0;
  }

  sfixed32(): number {
    return this.word();
  }

  fixed64(): bigint {
    this.fixedWords();
    return longs[0]!;
  }

  sfixed64(): bigint {
    this.fixedWords();
    return signedLongs[0]!;
  }

  float(): number {
    words[0] = this.word();
    return floats[0]!;
  }

  double(): number {
    this.fixedWords();
    return doubles[0]!;
  }

  /** @throws DecodeError if the bytes are not UTF-8, as the protobuf specification asks. */
  string(): string {
    const length = this.uint32();
    const start = this.pos;
    const end = start + length;
    if (end > this.end) throw truncated();
    this.pos = end;
    return length === 0 ? '' : text(this.bytes, start, end);
  }

  bytesField(): Uint8Array {
    const length = this.uint32();
    const start = this.pos;
    const end = start + length;
    if (end > this.end) throw truncated();
    this.pos = end;
    return length === 0 ? EMPTY_BYTES : copy(this.bytes, start, end);
  }

  /** Skips the value behind `tag`. Unknown fields are not kept. */
  skip(tag: number): void {
    switch (tag & 7) {
      case 0:
        this.varint64();
        return;
      case 1:
        this.advance(8);
        return;
      case 2:
        this.advance(this.uint32());
        return;
      case 3:
        this.skipGroup(tag >>> 3);
        return;
      case 5:
        this.advance(4);
        return;
      case 4:
        throw new DecodeError(`end of group ${tag >>> 3} without its start`, '', '');
      default:
        throw new DecodeError(`invalid wire type ${tag & 7} of field ${tag >>> 3}`, '', '');
    }
  }

  private advance(length: number): void {
    const pos = this.pos + length;
    if (pos > this.end) throw truncated();
    this.pos = pos;
  }

  private skipGroup(number: number): void {
    if (++this.depth > RECURSION_LIMIT) {
      throw new DecodeError(`groups nested deeper than ${RECURSION_LIMIT}`, '', '');
    }
    for (;;) {
      const tag = this.tag();
      if ((tag & 7) === 4) {
        if (tag >>> 3 !== number) {
          throw new DecodeError(`end of group ${tag >>> 3} inside group ${number}`, '', '');
        }
        this.depth--;
        return;
      }
      this.skip(tag);
    }
  }

  private longTag(): number {
    const { bytes, end } = this;
    let pos = this.pos;
    let tag = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      if (pos >= end) throw truncated();
      const byte = bytes[pos++]!;
      tag |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (shift === 28 && byte > 0x0f) break;
        tag >>>= 0;
        if (tag < 8) throw new DecodeError('invalid field number 0', '', '');
        this.pos = pos;
        return tag;
      }
    }
    throw new DecodeError('invalid tag: more than 32 bits', '', '');
  }

  /** The low 32 bits of a varint of up to 64. */
  private longUint32(): number {
    const { bytes, end } = this;
    let pos = this.pos;
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (pos >= end) throw truncated();
      const byte = bytes[pos++]!;
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.pos = pos;
        return value >>> 0;
      }
    }
    throw overlong();
  }

  /** Leaves the varint in `words`. Bits beyond 64 are dropped, as protobuf does. */
  private varint64(): void {
    const { bytes, end } = this;
    let pos = this.pos;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (pos >= end) throw truncated();
      const byte = bytes[pos++]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.pos = pos;
        words[0] = low;
        words[1] = high;
        return;
      }
    }
    throw overlong();
  }

  private word(): number {
    const pos = this.pos;
    if (pos + 4 > this.end) throw truncated();
    this.pos = pos + 4;
    return wordAt(this.bytes, pos);
  }

  private fixedWords(): void {
    const pos = this.pos;
    if (pos + 8 > this.end) throw truncated();
    this.pos = pos + 8;
    words[0] = wordAt(this.bytes, pos);
    words[1] = wordAt(this.bytes, pos + 4);
  }
}

function wordAt(bytes: Uint8Array, pos: number): number {
  return bytes[pos]! | (bytes[pos + 1]! << 8) | (bytes[pos + 2]! << 16) | (bytes[pos + 3]! << 24);
}

/** Up to this many bytes, characters put together here are faster than a call into native code. */
const SHORT_TEXT = 12;

/**
 * Text that came lately: topics, names and the like come again and again. To compare its bytes costs less
 * than to make it anew, and a string that is the same object has its hash for a Map already.
 */
const RECENT = 256;
const RECENT_TEXT = 48;
const recent: string[] = new Array(RECENT).fill('');
/** What was seen last at each place: text is kept when it comes the second time. */
const seen = new Uint32Array(RECENT);

/** Where hardly any text comes again, looking for it costs more than it saves: so many are decoded without. */
const REST = 4096;
const HIT = 8;
const BALANCE_MOST = 64;
let rest = 0;
/** Rises by `HIT` with text that was known, falls by one with text that was not. */
let balance = 0;

function text(bytes: Uint8Array, start: number, end: number): string {
  const length = end - start;
  if (length > RECENT_TEXT) return newText(bytes, start, end);
  if (rest > 0) {
    rest--;
    return newText(bytes, start, end);
  }
  const mark =
    (bytes[start]! |
      (bytes[start + (length >> 1)]! << 8) |
      (bytes[end - 1]! << 16) |
      (length << 24)) >>>
    0;
  const place = (Math.imul(mark, 0x9e3779b1) >>> 24) & (RECENT - 1);
  const known = recent[place]!;
  if (known.length === length && isText(known, bytes, start)) {
    if (balance < BALANCE_MOST) balance += HIT;
    return known;
  }
  if (--balance < -BALANCE_MOST) {
    balance = 0;
    rest = REST;
  }
  const decoded = newText(bytes, start, end);
  // Only ASCII has as many characters as bytes.
  if (seen[place] === mark && decoded.length === length) recent[place] = decoded;
  seen[place] = mark;
  return decoded;
}

/** Whether ASCII text has these bytes. */
function isText(known: string, bytes: Uint8Array, start: number): boolean {
  for (let index = 0; index < known.length; index++) {
    if (known.charCodeAt(index) !== bytes[start + index]) return false;
  }
  return true;
}

function newText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= SHORT_TEXT) {
    const short = shortText(bytes, start, end);
    if (short !== undefined) return short;
  }
  const decoded = utf8Slice.call(bytes, start, end);
  // Invalid sequences become U+FFFD, which valid text may hold as well.
  if (decoded.includes('\ufffd') && !isUtf8(bytes.subarray(start, end))) {
    throw new DecodeError('invalid UTF-8', '', '');
  }
  return decoded;
}

/** The text if it is all ASCII. */
function shortText(bytes: Uint8Array, start: number, end: number): string | undefined {
  let decoded = '';
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const a = bytes[at]!;
    const b = bytes[at + 1]!;
    const c = bytes[at + 2]!;
    const d = bytes[at + 3]!;
    if ((a | b | c | d) > 0x7f) return undefined;
    decoded += String.fromCharCode(a, b, c, d);
  }
  for (; at < end; at++) {
    const a = bytes[at]!;
    if (a > 0x7f) return undefined;
    decoded += String.fromCharCode(a);
  }
  return decoded;
}

/** Up to this many bytes V8 keeps an array's content in the object itself, which no pool can beat. */
const INLINE_BYTES = 64;
/** From here on memory of its own costs less than what the pool would pin. */
const POOLED_BYTES = 4096;
const POOL_BYTES = 32768;

let pool = newPool();
let poolUsed = 0;

/** A copy: inline, from the pool, or with memory of its own, by size. */
function copy(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const length = end - start;
  if (length <= INLINE_BYTES) return bytes.slice(start, end);
  if (length > POOLED_BYTES) {
    copies.bytes += length;
    return bytes.slice(start, end);
  }
  if (poolUsed + length > POOL_BYTES) {
    pool = newPool();
    poolUsed = 0;
    copies.bytes += POOL_BYTES;
  }
  const offset = poolUsed;
  poolUsed += (length + 7) & ~7;
  pool.set(bytes.subarray(start, end), offset);
  return new Uint8Array(pool.buffer, offset, length);
}

function newPool(): Uint8Array {
  const { buffer } = Buffer.allocUnsafeSlow(POOL_BYTES);
  // Transferring one message's bytes to a worker would take those of its neighbours along.
  markAsUntransferable(buffer);
  return new Uint8Array(buffer);
}

function plain(bytes: Uint8Array): Uint8Array {
  if (!(bytes instanceof Buffer)) return bytes;
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

function truncated(): DecodeError {
  return new DecodeError('truncated: the bytes end inside a value', '', '');
}

function overlong(): DecodeError {
  return new DecodeError('invalid varint: more than 10 bytes', '', '');
}

function outside(bytes: Uint8Array, offset: number, length: number): RangeError {
  return new RangeError(`${length} bytes at ${offset} lie outside of ${bytes.length} bytes`);
}
