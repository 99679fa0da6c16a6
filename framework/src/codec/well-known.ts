import { HeapWriter } from './arena-writer.js';
import type { MessageType } from './message-type.js';
import { Reader } from './reader.js';
import type { Any, Duration, Timestamp } from './well-known.gen.js';

const MS_PER_SECOND = 1000;
const NANOS_PER_MS = 1_000_000;

/** The point in time of a Date, or of milliseconds since 1970. @throws RangeError if it is invalid. */
export function timestampFromDate(date: Date | number): Timestamp {
  const ms = Number(date);
  if (!Number.isFinite(ms)) throw new RangeError(`expected a valid date, got ${date}`);
  const seconds = Math.floor(ms / MS_PER_SECOND);
  const nanos = Math.round((ms - seconds * MS_PER_SECOND) * NANOS_PER_MS);
  return { seconds: BigInt(seconds), nanos };
}

/** The Date, to the millisecond; an invalid one beyond the years -271821 to 275760. */
export function timestampToDate(timestamp: Timestamp): Date {
  return new Date(timestampToMs(timestamp));
}

/** Milliseconds since 1970, rounded down. */
export function timestampToMs({ seconds, nanos }: Timestamp): number {
  return Number(seconds) * MS_PER_SECOND + Math.floor(nanos / NANOS_PER_MS);
}

/** @throws RangeError if `ms` is not finite. */
export function durationFromMs(ms: number): Duration {
  if (!Number.isFinite(ms)) throw new RangeError(`expected milliseconds, got ${ms}`);
  const seconds = Math.trunc(ms / MS_PER_SECOND);
  const nanos = Math.round((ms - seconds * MS_PER_SECOND) * NANOS_PER_MS);
  // `+ 0` turns -0 into 0.
  return { seconds: BigInt(seconds), nanos: nanos + 0 };
}

/** Milliseconds, with nanoseconds as a fraction. */
export function durationToMs({ seconds, nanos }: Duration): number {
  return Number(seconds) * MS_PER_SECOND + nanos / NANOS_PER_MS;
}

/** The message with its type's name, which `unpackAny` and the JSON form need. @throws EncodeError */
export function packAny<M, Init>(type: MessageType<M, Init>, message: Init): Any {
  const writer = new HeapWriter();
  writer.begin();
  type.encode(message, writer);
  return { typeUrl: `type.googleapis.com/${type.typeName}`, value: writer.copy() };
}

/** The message, or undefined if it is of another type. @throws DecodeError */
export function unpackAny<M, Init>(type: MessageType<M, Init>, any: Any): M | undefined {
  const name = any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1);
  if (name !== type.typeName) return undefined;
  return type.decode(new Reader(any.value), any.value.length);
}
