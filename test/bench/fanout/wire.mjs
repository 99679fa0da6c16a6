// Messages of millrace.pubsub.v1, encoded here by hand: the load must not depend on the codec that it
// measures.

import { frame } from '../frames.mjs';

export const TOPIC = 'bench.fanout';

/** SLOW_CONSUMER_BLOCK: the publisher waits for its subscribers, so that nothing is lost. */
const BLOCK = 1;

/** @param {number} value */
function varint(value) {
  const bytes = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 0x80);
  }
}

/**
 * @param {number} number
 * @param {Buffer} bytes
 */
const lengthDelimited = (number, bytes) =>
  Buffer.concat([Buffer.from([(number << 3) | 2]), varint(bytes.length), bytes]);

/**
 * @param {number} number
 * @param {number} value
 */
const integer = (number, value) => Buffer.concat([Buffer.from([number << 3]), varint(value)]);

/**
 * What event number `number` carries: its number, and bytes that differ from those of its neighbours.
 *
 * @param {number} size at least 8
 * @param {number} number
 */
export function payload(size, number) {
  const bytes = Buffer.alloc(size, (number * 31 + 7) & 0xff);
  bytes.writeBigUInt64BE(BigInt(number));
  return bytes;
}

/**
 * The body of a Subscribe: BLOCK, for that loses nothing.
 *
 * @param {number} maxPending events
 */
export const subscribeBody = (maxPending) =>
  frame(
    Buffer.concat([
      lengthDelimited(1, Buffer.from(TOPIC)),
      integer(3, BLOCK),
      integer(4, maxPending),
    ]),
  );

/**
 * The body of a PublishStream: `count` events, numbered from 0.
 *
 * @param {number} size bytes of a payload
 * @param {number} count
 */
export const publishBody = (size, count) =>
  Buffer.concat(
    Array.from({ length: count }, (_, number) =>
      frame(
        Buffer.concat([
          lengthDelimited(1, Buffer.from(TOPIC)),
          lengthDelimited(2, payload(size, number)),
        ]),
      ),
    ),
  );

/**
 * Where the payload of an event is; undefined if it has none.
 *
 * @param {Buffer} bytes
 * @param {number} start of the event
 * @param {number} end
 * @returns {[start: number, end: number] | undefined}
 */
export function payloadOf(bytes, start, end) {
  let at = start;
  const read = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 0x7f) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < end) {
    const tag = read();
    if ((tag & 7) === 0) {
      read();
    } else if ((tag & 7) === 2) {
      const length = read();
      if (tag >> 3 === 2) return [at, at + length];
      at += length;
    } else {
      throw new Error(`an event has a field of wire type ${tag & 7}`);
    }
  }
  return undefined;
}
