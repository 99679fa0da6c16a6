// Echo messages and their gRPC frames, encoded here by hand: the load must not depend on the codec
// that it measures.

/** Bytes of gRPC's prefix: a compression flag and a 32-bit length. */
export const PREFIX_BYTES = 5;

const TEXT_BYTES = 16;

/**
 * An EchoRequest of exactly `size` bytes: `text` (16 digits, the number of the message) and `data`.
 * Echo answers with the same bytes, for EchoReply has the same fields.
 *
 * @param {number} size at least 32
 * @param {number} number
 */
export function message(size, number) {
  const text = String(number).padStart(TEXT_BYTES, '0');
  let lengthBytes = 1;
  while (size - 2 - TEXT_BYTES - 1 - lengthBytes >= 2 ** (7 * lengthBytes)) lengthBytes++;
  const dataBytes = size - 2 - TEXT_BYTES - 1 - lengthBytes;
  if (dataBytes < 1 || dataBytes < 2 ** (7 * (lengthBytes - 1))) {
    throw new RangeError(`no echo message has exactly ${size} bytes`);
  }
  const bytes = Buffer.alloc(size);
  bytes[0] = (1 << 3) | 2;
  bytes[1] = TEXT_BYTES;
  bytes.write(text, 2, 'latin1');
  let at = 2 + TEXT_BYTES;
  bytes[at++] = (2 << 3) | 2;
  for (let i = 0, rest = dataBytes; i < lengthBytes; i++, rest >>>= 7) {
    bytes[at++] = (rest & 0x7f) | (i < lengthBytes - 1 ? 0x80 : 0);
  }
  for (let value = number * 2654435761 + 1; at < size; ) {
    value = (Math.imul(value, 1664525) + 1013904223) >>> 0;
    bytes[at++] = value >>> 24;
  }
  return bytes;
}

/** @param {Buffer} bytes */
export function frame(bytes) {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

/**
 * The body of a request with `count` messages.
 *
 * @param {number} size of each message
 * @param {number} count
 */
export function body(size, count) {
  return Buffer.concat(Array.from({ length: count }, (_, number) => frame(message(size, number))));
}
