import type { MessageType } from '../codec/message-type.js';

/**
 * What a call needs of the engine beneath it; `bridge/engine.ts` implements it. A call is named by
 * its reference: index in the low 16 bits, generation in the high 16.
 */
export interface CallPort {
  /** Changes with each drain of the operation queue. */
  readonly epoch: number;
  /** Per call index: messages consumed, wrapping. Say `sayConsumed` once per call and epoch. */
  readonly consumed: Uint32Array;
  /** Per call index: bytes that the engine holds unsent. */
  readonly pending: Uint32Array;
  /** Unsent bytes from which a call has to wait. */
  readonly streamMark: number;
  /** The thread holds as many unsent bytes as it may: one message is admitted per idle stream. */
  readonly outboundFull: boolean;
  readonly level: 'open' | 'low' | 'critical';

  /** Decodes the message in a slot. @throws DecodeError */
  decode<M>(type: MessageType<M, never>, slot: number): M;
  /** Whether the message in a slot came compressed. */
  isCompressed(slot: number): boolean;
  /** Returns the bytes that wait in the arena for it. @throws EncodeError, StatusError */
  sendMessage<Init>(call: number, type: MessageType<unknown, Init>, message: Init): number;
  /** Headers, message and OK in one: the end of a call. @throws as `sendMessage` */
  sendReply<Init>(call: number, type: MessageType<unknown, Init>, message: Init): void;
  /** Has `resume` called when the stream is writable again, should the engine's record not come. */
  watch(stream: Watched): void;
  unwatch(stream: Watched): void;
  sayConsumed(call: number): void;
  sayReading(call: number): void;
  sayDiscard(call: number): void;
}

/** A reply stream that is over its mark. */
export interface Watched {
  readonly call: number;
  readonly isWritable: boolean;
}
