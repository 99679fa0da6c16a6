// One subscriber among many that looks at every event, in a process of its own on the generator's core.
// It compares each payload with the one that is due, in order, and counts messages and bytes. Words:
// the port, bytes of a payload, events in a body, the events that may be pending.
//
// It reads HTTP/2 by itself: Node's client took a quarter of the generator's core with 4 KiB to ten
// subscribers, and made the rate of a fast server the witness's.
//
// `{ until }` over the IPC channel is answered when so many events have come in all.

import { connect } from 'node:net';
import { PREFIX_BYTES } from '../frames.mjs';
import { payload, payloadOf, subscribeBody } from './wire.mjs';

const READ_BYTES = 256 * 1024;
const WINDOW_BYTES = 2 ** 30;
/** The window is opened again when so much of it is used. */
const CREDIT_BYTES = WINDOW_BYTES / 4;
/** Fields of an event beside its payload. */
const FIELDS_BYTES_MAX = 1024;

// RFC 9113 section 6.
const HEAD_BYTES = 9;
const FRAME_BYTES_MAX = 16 * 1024;
const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;
const END_STREAM = 1;
const ACK = 1;
const END_HEADERS = 4;
const PADDED = 8;
const INITIAL_WINDOW_SIZE = 4;
const STREAM = 1;

const [port = 0, size = 0, count = 0, maxPending = 0] = process.argv.slice(2).map(Number);
const expected = Array.from({ length: count }, (_, number) => payload(size, number));

let messages = 0;
let bytes = 0;
let firstAt = 0;
let lastAt = 0;
let until = Number.POSITIVE_INFINITY;
let used = 0;

/** The frame that is being read: its head, and what is missing of its payload. */
const head = Buffer.alloc(HEAD_BYTES);
let headBytes = 0;
let missing = 0;
/** Small frames that are answered: PING. */
const control = Buffer.alloc(FRAME_BYTES_MAX);
let controlBytes = 0;
/** A message that ends in a later read or frame than it began in. */
const gather = Buffer.alloc(PREFIX_BYTES + size + FIELDS_BYTES_MAX);
let gathered = 0;

const socket = connect({
  ...{ host: '127.0.0.1', port, noDelay: true },
  onread: {
    buffer: Buffer.alloc(READ_BYTES),
    callback(length, buffer) {
      read(/** @type {Buffer} */ (buffer), length);
      return true;
    },
  },
});
socket.on('error', fail);
socket.on('close', () => fail(new Error('the server has closed the connection')));
socket.write(
  Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    frame(SETTINGS, 0, 0, Buffer.concat([uint(INITIAL_WINDOW_SIZE, 2), uint(WINDOW_BYTES, 4)])),
    frame(WINDOW_UPDATE, 0, 0, uint(WINDOW_BYTES, 4)),
    frame(HEADERS, END_HEADERS, STREAM, headerBlock()),
    frame(DATA, END_STREAM, STREAM, subscribeBody(maxPending)),
  ]),
);

process.on('message', (/** @type {{ until: number }} */ question) => {
  until = question.until;
  firstAt = 0;
  answer();
});
process.on('disconnect', () => process.exit(0));

/**
 * @param {number} value
 * @param {number} length
 */
function uint(value, length) {
  const buffer = Buffer.alloc(length);
  buffer.writeUIntBE(value, 0, length);
  return buffer;
}

/**
 * @param {number} type
 * @param {number} flags
 * @param {number} stream
 * @param {Buffer} content
 */
function frame(type, flags, stream, content) {
  return Buffer.concat([
    uint(content.length, 3),
    Buffer.from([type, flags]),
    uint(stream, 4),
    content,
  ]);
}

/** Literal fields without indexing (RFC 7541 section 6.2.2). */
function headerBlock() {
  const fields = {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': '/millrace.pubsub.v1.PubSub/Subscribe',
    ':authority': `127.0.0.1:${port}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  };
  return Buffer.concat(
    Object.entries(fields).flatMap(([name, value]) => [
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]),
  );
}

/**
 * @param {Buffer} buffer
 * @param {number} length
 */
function read(buffer, length) {
  lastAt = performance.now();
  if (firstAt === 0) firstAt = lastAt;
  for (let at = 0; at < length; ) {
    if (headBytes < HEAD_BYTES) {
      const part = Math.min(HEAD_BYTES - headBytes, length - at);
      buffer.copy(head, headBytes, at, at + part);
      headBytes += part;
      at += part;
      if (headBytes < HEAD_BYTES) break;
      missing = head.readUIntBE(0, 3);
      controlBytes = 0;
      if (missing > FRAME_BYTES_MAX) fail(new Error(`a frame has ${missing} bytes`));
    }
    const part = Math.min(missing, length - at);
    if (head[3] === DATA) take(buffer, at, at + part);
    else controlBytes += buffer.copy(control, controlBytes, at, at + part);
    at += part;
    missing -= part;
    if (missing > 0) break;
    headBytes = 0;
    end(/** @type {number} */ (head[3]), /** @type {number} */ (head[4]));
  }
  if (used >= CREDIT_BYTES) {
    const credit = uint(used, 4);
    used = 0;
    socket.write(
      Buffer.concat([frame(WINDOW_UPDATE, 0, 0, credit), frame(WINDOW_UPDATE, 0, STREAM, credit)]),
    );
  }
  answer();
}

/**
 * A frame is complete.
 *
 * @param {number} type
 * @param {number} flags
 */
function end(type, flags) {
  const content = control.subarray(0, controlBytes);
  if (type === RST_STREAM || type === GOAWAY) {
    fail(new Error(`the server has sent a frame of type ${type}: ${content.toString('latin1')}`));
  } else if ((type === DATA || type === HEADERS) && (flags & END_STREAM) !== 0) {
    fail(new Error(`Subscribe ended: ${content.toString('latin1')}`));
  } else if (type === DATA && (flags & PADDED) !== 0) {
    fail(new Error('the server pads its frames, which the witness does not read'));
  } else if (type === HEADERS) {
    process.send?.({ kind: 'subscribed' });
  } else if (type === SETTINGS && (flags & ACK) === 0) {
    socket.write(frame(SETTINGS, ACK, 0, Buffer.alloc(0)));
  } else if (type === PING && (flags & ACK) === 0) {
    socket.write(frame(PING, ACK, 0, Buffer.from(content)));
  }
}

/**
 * Bytes of messages.
 *
 * @param {Buffer} piece
 * @param {number} at
 * @param {number} end
 */
function take(piece, at, end) {
  bytes += end - at;
  used += end - at;
  while (at < end) {
    const whole =
      gathered === 0 && end - at >= PREFIX_BYTES
        ? at + PREFIX_BYTES + piece.readUInt32BE(at + 1)
        : Number.POSITIVE_INFINITY;
    if (whole <= end) {
      compare(piece, at + PREFIX_BYTES, whole);
      at = whole;
      continue;
    }
    const due = gathered < PREFIX_BYTES ? PREFIX_BYTES : PREFIX_BYTES + gather.readUInt32BE(1);
    if (due > gather.length) fail(new Error(`event ${messages} has ${due} bytes`));
    const part = Math.min(due - gathered, end - at);
    piece.copy(gather, gathered, at, at + part);
    gathered += part;
    at += part;
    if (gathered >= PREFIX_BYTES && gathered === PREFIX_BYTES + gather.readUInt32BE(1)) {
      compare(gather, PREFIX_BYTES, gathered);
      gathered = 0;
    }
  }
}

/**
 * @param {Buffer} piece
 * @param {number} start
 * @param {number} end
 */
function compare(piece, start, end) {
  const due = expected[messages % count];
  const range = payloadOf(piece, start, end);
  if (due === undefined || range === undefined || piece.compare(due, 0, size, ...range) !== 0) {
    fail(new Error(`event ${messages} is not the one that was due`));
  }
  messages++;
}

function answer() {
  if (messages < until) return;
  until = Number.POSITIVE_INFINITY;
  process.send?.({ kind: 'reached', messages, bytes, seconds: (lastAt - firstAt) / 1000 });
}

/** @param {Error} error */
function fail(error) {
  process.stderr.write(`the witness: ${error.message}\n`);
  process.exit(1);
}
