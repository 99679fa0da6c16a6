import { load } from '@millrace/native/load';
import { Writer } from '../codec/arena-writer.js';
import type { MessageType } from '../codec/message-type.js';
import type { NativeTopics, NativeTopicsOptions } from './native.js';

/** Bytes before the message in the memory that both sides see. */
const HEAD_BYTES = 16;

/**
 * Topics as native code has them: encodes into memory that both sides see, and publishes from there.
 * A message that outgrows it moves to the heap.
 */
export class TopicsPort extends Writer {
  readonly native: NativeTopics;
  readonly #staging: Uint8Array;
  /** What the event published last got; what the next is given. */
  readonly #sequences: BigUint64Array;

  /** @throws Error with the code MILLRACE_TOPICS_CONFLICT */
  constructor(options: NativeTopicsOptions) {
    const { NativeTopics } = load();
    const native = new NativeTopics(options);
    const memory = native.staging();
    super(new Uint8Array(memory), HEAD_BYTES);
    this.native = native;
    this.#staging = this.bytes;
    this.#sequences = new BigUint64Array(memory, 0, 2);
  }

  /** What the event published last got; 0 if it is not retained. */
  get sequence(): bigint {
    return this.#sequences[0]!;
  }

  /**
   * Returns how many subscriptions of this process it is for; -1: there is an event of that sequence.
   *
   * @param sequence with `retain`, the event's own; 0: the next
   * @throws EncodeError
   */
  publish<Init>(
    topic: number,
    type: MessageType<unknown, Init>,
    message: Init,
    bytesMax: number,
    retain: boolean,
    sequence: bigint,
  ): number {
    this.pos = HEAD_BYTES;
    this.begin();
    try {
      type.encode(message, this);
      const length = this.finish();
      if (length > bytesMax) throw new TooLarge(length);
      if (retain) this.#sequences[1] = sequence;
      if (this.bytes === this.#staging) return this.native.publish(topic, length, retain);
      return this.native.publishLarge(topic, this.bytes.subarray(this.start, this.pos), retain);
    } finally {
      if (this.bytes !== this.#staging) {
        this.bytes = this.#staging;
        this.end = this.#staging.length;
      }
    }
  }

  protected override overflow(need: number): void {
    const length = this.pos - this.start;
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * length, length + need));
    grown.set(this.bytes.subarray(this.start, this.pos));
    this.bytes = grown;
    this.start = 0;
    this.pos = length;
    this.end = grown.length;
  }
}

/** The message has more bytes than it may. */
export class TooLarge extends Error {
  readonly length: number;

  constructor(length: number) {
    super(`${length} bytes`);
    this.length = length;
  }
}
