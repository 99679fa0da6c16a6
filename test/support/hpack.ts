// HPACK (RFC 7541) for a peer that shares no code with the server: it encodes everything as a
// literal without indexing, and decodes whatever a server may send.

import { ok } from 'node:assert';

export type Fields = [name: string, value: string][];

/** Each field as a literal without indexing and without Huffman coding (section 6.2.2). */
export function encodeFields(fields: readonly (readonly [string, string | Buffer])[]): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of fields) {
    parts.push(Buffer.from([0]), string(Buffer.from(name)), string(Buffer.from(value)));
  }
  return Buffer.concat(parts);
}

function string(bytes: Buffer): Buffer {
  return Buffer.concat([integer(bytes.length, 7), bytes]);
}

function integer(value: number, bits: number): Buffer {
  const limit = 2 ** bits - 1;
  if (value < limit) return Buffer.from([value]);
  const bytes = [limit];
  for (value -= limit; value >= 128; value = Math.floor(value / 128))
    bytes.push((value % 128) + 128);
  bytes.push(value);
  return Buffer.from(bytes);
}

/** One decoder for all header blocks of a connection, in order. */
export class FieldDecoder {
  #table: Fields = [];
  #tableBytes = 0;
  #tableLimit = 4096;

  decode(block: Buffer): Fields {
    const reader = new BlockReader(block);
    const fields: Fields = [];
    while (reader.more) {
      const first = reader.peek();
      if (first >= 128) {
        fields.push(this.#entry(reader.integer(7)));
      } else if (first >= 64) {
        const field = this.#literal(reader, 6);
        this.#add(field);
        fields.push(field);
      } else if (first >= 32) {
        this.#tableLimit = reader.integer(5);
        ok(this.#tableLimit <= 4096, 'table size update above the limit');
        this.#evict();
      } else {
        fields.push(this.#literal(reader, 4));
      }
    }
    return fields;
  }

  #literal(reader: BlockReader, bits: number): [string, string] {
    const index = reader.integer(bits);
    const name = index === 0 ? reader.string() : this.#entry(index)[0];
    return [name, reader.string()];
  }

  #entry(index: number): [string, string] {
    const entry = STATIC[index - 1] ?? this.#table[index - 1 - STATIC.length];
    ok(entry !== undefined, `no header table entry ${index}`);
    return entry;
  }

  #add(field: [string, string]): void {
    this.#table.unshift(field);
    this.#tableBytes += size(field);
    this.#evict();
  }

  #evict(): void {
    while (this.#tableBytes > this.#tableLimit) this.#tableBytes -= size(this.#table.pop()!);
  }
}

function size([name, value]: [string, string]): number {
  return Buffer.byteLength(name, 'latin1') + Buffer.byteLength(value, 'latin1') + 32;
}

class BlockReader {
  #bytes: Buffer;
  #position = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get more(): boolean {
    return this.#position < this.#bytes.length;
  }

  peek(): number {
    const byte = this.#bytes[this.#position];
    ok(byte !== undefined, 'header block ends inside a field');
    return byte;
  }

  #next(): number {
    const byte = this.peek();
    this.#position++;
    return byte;
  }

  integer(bits: number): number {
    const limit = 2 ** bits - 1;
    let value = this.#next() & limit;
    if (value < limit) return value;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#next();
      value += (byte & 127) * scale;
      ok(value < 2 ** 31, 'header integer too large');
      if (byte < 128) return value;
    }
  }

  string(): string {
    const coded = this.peek() >= 128;
    const length = this.integer(7);
    const bytes = this.#bytes.subarray(this.#position, this.#position + length);
    ok(bytes.length === length, 'header block ends inside a string');
    this.#position += length;
    return (coded ? unHuffman(bytes) : bytes).toString('latin1');
  }
}

function unHuffman(bytes: Buffer): Buffer {
  const out: number[] = [];
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1);
      length++;
      const symbol = HUFFMAN.get(length * 2 ** 32 + code);
      if (symbol === undefined) continue;
      ok(symbol !== 256, 'end-of-string symbol in a header string');
      out.push(symbol);
      code = 0;
      length = 0;
    }
  }
  ok(length < 8 && code === 2 ** length - 1, 'header string is padded wrongly');
  return Buffer.from(out);
}

/** Bits of the code of each symbol (appendix B). The code is canonical: lengths determine it. */
// biome-ignore format: a table
const HUFFMAN_LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];

const HUFFMAN = huffman();

function huffman(): Map<number, number> {
  const symbols = HUFFMAN_LENGTHS.map((length, symbol) => ({ length, symbol }));
  symbols.sort((a, b) => a.length - b.length || a.symbol - b.symbol);
  const codes = new Map<number, number>();
  let code = 0;
  let last = 0;
  for (const { length, symbol } of symbols) {
    code *= 2 ** (length - last);
    last = length;
    codes.set(length * 2 ** 32 + code, symbol);
    code++;
  }
  return codes;
}

/** Appendix A. */
// biome-ignore format: a table
const STATIC: Fields = [
  [':authority', ''], [':method', 'GET'], [':method', 'POST'], [':path', '/'], [':path', '/index.html'],
  [':scheme', 'http'], [':scheme', 'https'], [':status', '200'], [':status', '204'], [':status', '206'],
  [':status', '304'], [':status', '400'], [':status', '404'], [':status', '500'], ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'], ['accept-language', ''], ['accept-ranges', ''], ['accept', ''],
  ['access-control-allow-origin', ''], ['age', ''], ['allow', ''], ['authorization', ''],
  ['cache-control', ''], ['content-disposition', ''], ['content-encoding', ''], ['content-language', ''],
  ['content-length', ''], ['content-location', ''], ['content-range', ''], ['content-type', ''],
  ['cookie', ''], ['date', ''], ['etag', ''], ['expect', ''], ['expires', ''], ['from', ''], ['host', ''],
  ['if-match', ''], ['if-modified-since', ''], ['if-none-match', ''], ['if-range', ''],
  ['if-unmodified-since', ''], ['last-modified', ''], ['link', ''], ['location', ''],
  ['max-forwards', ''], ['proxy-authenticate', ''], ['proxy-authorization', ''], ['range', ''],
  ['referer', ''], ['refresh', ''], ['retry-after', ''], ['server', ''], ['set-cookie', ''],
  ['strict-transport-security', ''], ['transfer-encoding', ''], ['user-agent', ''], ['vary', ''],
  ['via', ''], ['www-authenticate', ''],
];
