// What is measured: one entry per row of the table.

/**
 * @typedef {object} Row
 * @property {string} name short, for the command line and the JSON
 * @property {string} title for people
 * @property {'h2load' | 'grpc-go' | 'frames'} generator
 * @property {'Say' | 'Chat' | 'ChatFast'} method
 * @property {number} size bytes of a message
 * @property {number} messages per request body (h2load); 1 is a unary call
 * @property {number} connections
 * @property {number} streams concurrent requests per connection
 * @property {boolean} [smallWindows]
 * @property {boolean} [tls]
 * @property {boolean} [drivers] measured on every driver, also those for older kernels
 * @property {boolean} [latency] one call at a time: microseconds instead of a rate
 * @property {boolean} [quick] part of `--quick`
 */

const KIB = 1024;

/**
 * @param {string} name
 * @param {string} title
 * @param {Partial<Row>} rest
 * @returns {Row}
 */
const unary = (name, title, rest) => ({
  ...{ name, title, generator: 'h2load', method: 'Say', size: 64, messages: 1 },
  ...{ connections: 8, streams: 16 },
  ...rest,
});

/**
 * @param {string} name
 * @param {string} title
 * @param {Partial<Row>} rest
 * @returns {Row}
 */
const stream = (name, title, rest) => ({
  ...{ name, title, generator: 'h2load', method: 'Chat', size: 64, messages: 1000 },
  ...{ connections: 8, streams: 4 },
  ...rest,
});

/** @type {Row[]} */
export const rows = [
  unary('unary', 'Say, 64 B', { quick: true, drivers: true }),
  unary('unary-1k', 'Say, 1 KiB', { size: KIB }),
  unary('unary-64k', 'Say, 64 KiB', { size: 64 * KIB, streams: 4 }),
  unary('unary-64k-small-windows', 'Say, 64 KiB, 64 KiB windows', {
    ...{ size: 64 * KIB, streams: 4, smallWindows: true },
  }),

  stream('chat', 'Chat, 64 B, 1,000 a body', { quick: true, drivers: true }),
  stream('chat-1k', 'Chat, 1 KiB, 1,000 a body', { size: KIB }),
  stream('chat-64k', 'Chat, 64 KiB, 50 a body', { size: 64 * KIB, messages: 50, quick: true }),
  stream('fast', 'ChatFast, 64 B, 1,000 a body', { method: 'ChatFast', quick: true }),
  stream('fast-1k', 'ChatFast, 1 KiB, 1,000 a body', { method: 'ChatFast', size: KIB }),
  stream('fast-64k', 'ChatFast, 64 KiB, 50 a body', {
    ...{ method: 'ChatFast', size: 64 * KIB, messages: 50 },
  }),
  stream('chat-small-windows', 'Chat, 64 B, 1,000 a body, 64 KiB windows', { smallWindows: true }),
  stream('chat-64k-small-windows', 'Chat, 64 KiB, 50 a body, 64 KiB windows', {
    ...{ size: 64 * KIB, messages: 50, smallWindows: true },
  }),

  stream('chat-per-frame', 'Chat, 64 B, a DATA frame each (grpc-go)', { generator: 'grpc-go' }),
  stream('fast-per-frame', 'ChatFast, 64 B, a DATA frame each (grpc-go)', {
    ...{ method: 'ChatFast', generator: 'grpc-go' },
  }),
  stream('chat-frames', 'Chat, 64 B, a DATA frame each (x/net/http2)', {
    ...{ generator: 'frames', streams: 1, quick: true },
  }),
  stream('fast-frames', 'ChatFast, 64 B, a DATA frame each (x/net/http2)', {
    ...{ method: 'ChatFast', generator: 'frames', streams: 1 },
  }),

  unary('tls-unary', 'Say, 64 B, TLS', { tls: true }),
  stream('tls-chat', 'Chat, 64 B, 1,000 a body, TLS', { tls: true }),

  unary('connections-1', 'Say, 64 B, 1 connection × 8', { connections: 1, streams: 8 }),
  unary('connections-8', 'Say, 64 B, 8 connections × 8', { connections: 8, streams: 8 }),
  unary('connections-100', 'Say, 64 B, 100 connections × 8', { connections: 100, streams: 8 }),
  unary('connections-1000', 'Say, 64 B, 1,000 connections × 8', { connections: 1000, streams: 8 }),

  unary('latency', 'Say, 64 B, one call at a time', {
    ...{ connections: 1, streams: 1, latency: true, quick: true },
  }),
];

/** The rows that a word of the command line names: one, or those with TLS. @param {string} name */
export function rowsNamed(name) {
  return name === 'tls' ? rows.filter((row) => row.tls === true) : [rowNamed(name)];
}

/** @param {string} name */
export function rowNamed(name) {
  const row = rows.find((candidate) => candidate.name === name);
  if (row === undefined) {
    throw new Error(`There is no row ${name}; there are: ${rows.map((r) => r.name).join(', ')}`);
  }
  return row;
}
