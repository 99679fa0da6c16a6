// What messages contain: derived from the seed of the run, the number of the call and the place in it,
// so that whoever receives a message knows every byte that it has to have.

const TABLE_BYTES = 2 * 1024 * 1024;
export const MESSAGE_BYTES_MAX = 1024 * 1024;

export class Content {
  readonly #table = Buffer.allocUnsafe(TABLE_BYTES);

  constructor(seed: number) {
    let state = seed | 1;
    for (let offset = 0; offset < TABLE_BYTES; offset += 4) {
      // xorshift32
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      this.#table.writeInt32LE(state, offset);
    }
  }

  /** A view of so many bytes; valid for good, not to be written to. */
  bytes(key: string, length: number): Uint8Array {
    const start = hash(key) % (TABLE_BYTES - MESSAGE_BYTES_MAX);
    return this.#table.subarray(start, start + length);
  }

  matches(key: string, length: number, data: Uint8Array): boolean {
    return data.length === length && Buffer.compare(this.bytes(key, length), data) === 0;
  }

  /** The length of a reply that only the key of its call decides. */
  lengthOf(key: string): number {
    const value = hash(`${key} length`);
    const most = SIZES[value % SIZES.length]!;
    return most === 0 ? 0 : (value >>> 8) % (most + 1);
  }
}

/** Messages are at most so long; small ones more often. */
export const SIZES: readonly number[] = [
  0,
  1,
  40,
  100,
  100,
  1000,
  1000,
  5000,
  5000,
  16_384,
  70_000,
  262_144,
  MESSAGE_BYTES_MAX,
];

/** FNV-1a with a finish that mixes all bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

/** A message's own text: the call, the place in it, its length, and the length of the reply asked for. */
export interface Label {
  readonly call: string;
  readonly index: number;
  readonly length: number;
  readonly replyLength: number;
}

export function writeLabel({ call, index, length, replyLength }: Label): string {
  return `${call}/${index}/${length}/${replyLength}`;
}

export function readLabel(text: string): Label {
  const [call = '', index, length, replyLength] = text.split('/');
  return { call, index: Number(index), length: Number(length), replyLength: Number(replyLength) };
}

export const requestKey = (call: string, index: number) => `${call}>${index}`;
export const replyKey = (call: string, index: number) => `${call}<${index}`;
