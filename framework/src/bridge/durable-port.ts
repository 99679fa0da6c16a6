import { load } from '@millrace/native/load';
import type { MessageType } from '../codec/message-type.js';
import { Reader } from '../codec/reader.js';
import type { NativeDurableOptions, NativeDurables, NativeTopics } from './native.js';

/** Bytes before each message of a list: a u64 sequence, a u32 attempt, a u32 length. */
const HEAD_BYTES = 16;

/** What an event of a list is given to. */
export type Taker<M> = (message: M, sequence: bigint, attempt: number) => void;

/** The members of this thread in durable groups, as native code has them. */
export class DurablePort<M> {
  readonly #native: NativeDurables;
  readonly #type: MessageType<M>;

  /** @throws Error with the code MILLRACE_TOPICS_NOT_RETAINED */
  constructor(topics: NativeTopics, type: MessageType<M>, wake: () => void) {
    const { NativeDurables } = load();
    this.#native = new NativeDurables(topics, wake);
    this.#type = type;
  }

  /** Returns the member's number. @throws Error with a code MILLRACE_* */
  join(options: NativeDurableOptions): number {
    return this.#native.join(options);
  }

  /** Gives a member up to `max` events; whether it should ask again at once for what else it wants. */
  take(member: number, max: number, taker: Taker<M>): boolean {
    const bytes = this.#native.take(member, max);
    if (bytes === null) return false;
    this.#read(bytes, 4, taker);
    return bytes[0] === 1;
  }

  /** The dead letters of a member's group, with how often each was delivered. */
  deadLetters(member: number, taker: Taker<M>): void {
    for (;;) {
      const bytes = this.#native.deadLetters(member);
      if (bytes === null) return;
      this.#read(bytes, 0, taker);
    }
  }

  acknowledge(member: number, sequence: bigint): boolean {
    return this.#native.acknowledge(member, sequence);
  }

  reject(member: number, sequence: bigint): boolean {
    return this.#native.reject(member, sequence);
  }

  /** Milliseconds until there is something to do; -1: nothing. */
  expire(member: number): number {
    return this.#native.expire(member);
  }

  /** A member leaves; `taker` gets what is dead then. */
  leave(member: number, taker: Taker<M>): void {
    this.#native.leave(member);
    this.deadLetters(member, taker);
    this.#native.forget(member);
  }

  /** All members have left. */
  close(): void {
    this.#native.close();
  }

  /** The numbers of members that should ask again. */
  woken(): number[] {
    return this.#native.woken();
  }

  #read(bytes: Uint8Array, start: number, taker: Taker<M>): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const reader = new Reader();
    let at = start;
    while (at < bytes.length) {
      const sequence = view.getBigUint64(at, true);
      const attempt = view.getUint32(at + 8, true);
      const length = view.getUint32(at + 12, true);
      at += HEAD_BYTES;
      reader.set(bytes, at, length);
      const message = this.#type.decode(reader, length);
      at += length;
      taker(message, sequence, attempt);
    }
  }
}
