// One subscriber among many that looks at every event: Node's HTTP/2 client, in a process of its own
// on the generator's core. It compares each payload with the one that is due, in order, and counts
// messages and bytes. Words: the port, bytes of a payload, events in a body, the events that may be
// pending.
//
// `{ until }` over the IPC channel is answered when so many events have come in all.

import { connect } from 'node:http2';
import { PREFIX_BYTES } from '../frames.mjs';
import { payload, payloadOf, subscribeBody } from './wire.mjs';

const WINDOW_BYTES = 2 ** 30;

const [port, size = 0, count = 0, maxPending = 0] = process.argv.slice(2).map(Number);
const expected = Array.from({ length: count }, (_, number) => payload(size, number));

let messages = 0;
let bytes = 0;
let firstAt = 0;
let lastAt = 0;
let until = Number.POSITIVE_INFINITY;
/** @type {Buffer} */
let rest = Buffer.alloc(0);

const session = connect(`http://127.0.0.1:${port}`, {
  settings: { initialWindowSize: WINDOW_BYTES },
});
session.on('connect', () => session.setLocalWindowSize(WINDOW_BYTES));
session.on('error', fail);
const call = session.request({
  ':method': 'POST',
  ':path': '/millrace.pubsub.v1.PubSub/Subscribe',
  'content-type': 'application/grpc',
  te: 'trailers',
});
call.on('error', fail);
call.on('response', (headers) => {
  if (headers['grpc-status'] === undefined) process.send?.({ kind: 'subscribed' });
  else fail(new Error(`Subscribe: ${headers['grpc-status']} ${headers['grpc-message']}`));
});
call.on('trailers', (trailers) => {
  fail(new Error(`Subscribe ended: ${trailers['grpc-status']} ${trailers['grpc-message']}`));
});
call.on('data', (/** @type {Buffer} */ chunk) => {
  lastAt = performance.now();
  if (firstAt === 0) firstAt = lastAt;
  bytes += chunk.length;
  const piece = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
  let at = 0;
  while (piece.length - at >= PREFIX_BYTES) {
    const start = at + PREFIX_BYTES;
    const end = start + piece.readUInt32BE(at + 1);
    if (end > piece.length) break;
    compare(piece, start, end);
    at = end;
  }
  rest = piece.subarray(at);
  answer();
});
call.end(subscribeBody(maxPending));

process.on('message', (/** @type {{ until: number }} */ question) => {
  until = question.until;
  firstAt = 0;
  answer();
});
process.on('disconnect', () => process.exit(0));

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
