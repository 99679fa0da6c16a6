// The messages of the echo contract by hand (protobuf wire format), and gRPC's framing around them.

import { ok } from 'node:assert';

export interface Echo {
  text: string;
  data: Buffer;
}

/** EchoRequest and EchoReply have the same shape. */
export function encodeEcho({ text = '', data = Buffer.alloc(0) }: Partial<Echo>): Buffer {
  const parts: Buffer[] = [];
  const bytes = Buffer.from(text);
  if (bytes.length > 0) parts.push(Buffer.from([10]), varint(bytes.length), bytes);
  if (data.length > 0) parts.push(Buffer.from([18]), varint(data.length), data);
  return Buffer.concat(parts);
}

export function decodeEcho(message: Buffer): Echo {
  const echo: Echo = { text: '', data: Buffer.alloc(0) };
  for (const [field, value] of fieldsOf(message)) {
    ok(Buffer.isBuffer(value));
    if (field === 1) echo.text = value.toString();
    if (field === 2) echo.data = value;
  }
  return echo;
}

export function decodeCollect(message: Buffer): { count: number; bytes: number } {
  const reply = { count: 0, bytes: 0 };
  for (const [field, value] of fieldsOf(message)) {
    ok(typeof value === 'number');
    if (field === 1) reply.count = value;
    if (field === 2) reply.bytes = value;
  }
  return reply;
}

/** A message with its prefix: flag and length. */
export function frame(message: Buffer, flag = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** An echo request as it stands on the wire. */
export function echoFrame(echo: Partial<Echo>): Buffer {
  return frame(encodeEcho(echo));
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  bytes.push(value);
  return Buffer.from(bytes);
}

function* fieldsOf(message: Buffer): Generator<[field: number, value: number | Buffer]> {
  let position = 0;
  function number(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[position++];
      ok(byte !== undefined, 'message ends inside a number');
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }
  while (position < message.length) {
    const tag = number();
    const value = number();
    if (tag % 8 === 0) {
      yield [tag >> 3, value];
    } else {
      ok(tag % 8 === 2, `unexpected tag ${tag}`);
      const bytes = message.subarray(position, position + value);
      ok(bytes.length === value, 'message ends inside a field');
      position += value;
      yield [tag >> 3, bytes];
    }
  }
}
