import { Writer } from '../codec/arena-writer.js';
import type { MessageType } from '../codec/message-type.js';

const INITIAL_BYTES = 512;

/** The encoded requests of a call that may have to be sent again, or not yet. */
export class RequestBuffer extends Writer {
  /** Where each message ends. */
  readonly #ends: number[] = [];
  /** Messages that must not be compressed, by their number. */
  #plain: Set<number> | undefined;

  constructor() {
    super(new Uint8Array(INITIAL_BYTES));
  }

  get size(): number {
    return this.#ends.length;
  }

  get byteLength(): number {
    return this.#ends[this.#ends.length - 1] ?? 0;
  }

  /** Adds a message; returns its length. @throws EncodeError; nothing is added then */
  append<Init>(type: MessageType<unknown, Init>, message: Init, packs: boolean): number {
    this.begin();
    try {
      type.encode(message, this);
    } catch (error) {
      this.rollback();
      throw error;
    }
    if (!packs) {
      this.#plain ??= new Set();
      this.#plain.add(this.size);
    }
    this.#ends.push(this.pos);
    return this.finish();
  }

  /** A message; valid until the next `append`. */
  at(index: number): Uint8Array {
    return this.bytes.subarray(index === 0 ? 0 : this.#ends[index - 1], this.#ends[index]);
  }

  /** Whether a message may be compressed. */
  packs(index: number): boolean {
    return this.#plain?.has(index) !== true;
  }

  /** Takes the last message back. */
  pop(): void {
    this.#ends.pop();
    this.#plain?.delete(this.size);
    this.pos = this.byteLength;
  }

  protected override overflow(need: number): void {
    const grown = new Uint8Array(Math.max(2 * this.bytes.length, this.pos + need));
    grown.set(this.bytes.subarray(0, this.pos));
    this.bytes = grown;
    this.end = grown.length;
  }
}
