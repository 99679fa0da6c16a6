// What honest clients keep of their throughput while others attack: the same load without and with
// each attack, in turns. The attack is bounded, for on two cores it would else eat the generator's:
// connections a second, each of which sends what gets it cut (docs/security/attacks.md) and goes. What
// one of them costs the server is measured apart, without the honest load: that figure is the same on
// a machine that does other things as well.

import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { calibrate, measure } from './measure.mjs';
import { start } from './peers.mjs';
import { cpuSeconds } from './processes.mjs';
import { rowNamed } from './rows.mjs';
import { medianOf } from './statistics.mjs';

/** Attacking connections a second. */
export const ATTACKS_PER_SECOND = 20;

/**
 * @typedef {object} AttackResult
 * @property {string} attack
 * @property {string} peer
 * @property {number} alone messages a second without the attack, the median
 * @property {number} attacked messages a second with it, the median
 * @property {number} ratio
 * @property {number} connections that attacked during all rounds
 * @property {number} counted by the attack's counter
 * @property {number} cpuMilliseconds of the server for a connection that attacks
 */

/**
 * @param {number} type
 * @param {number} flags
 * @param {number} stream
 * @param {Buffer} [payload]
 */
function frame(type, flags, stream, payload = Buffer.alloc(0)) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** @param {number} value */
function word(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** @param {[name: string, value: string][]} fields each a literal of less than 127 bytes */
function block(fields) {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]),
  );
}

/** @type {[string, string][]} */
const REQUEST = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/millrace.echo.v1.Echo/Chat'],
  [':authority', 'localhost'],
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
];

/** @param {number} id */
const request = (id) => frame(1, 4, id, block(REQUEST));

/**
 * @param {number} count
 * @param {(number: number) => Buffer} piece
 */
const repeat = (count, piece) =>
  Buffer.concat(Array.from({ length: count }, (_, number) => piece(number)));

const bomb = Buffer.concat([block(REQUEST), Buffer.alloc(16_000, 0x82)]);

/** @type {{ name: string, counter: string, bytes: Buffer }[]} */
const attacks = [
  {
    name: 'Rapid Reset',
    counter: 'rapidResets',
    bytes: repeat(1_100, (n) =>
      Buffer.concat([request(2 * n + 1), frame(3, 0, 2 * n + 1, word(8))]),
    ),
  },
  {
    name: 'MadeYouReset',
    counter: 'madeYouResets',
    bytes: repeat(1_100, (n) =>
      Buffer.concat([request(2 * n + 1), frame(8, 0, 2 * n + 1, word(2 ** 31 - 1))]),
    ),
  },
  {
    name: 'CONTINUATION flood',
    counter: 'continuationFloods',
    bytes: Buffer.concat([frame(1, 0, 1, block(REQUEST)), repeat(100, () => frame(9, 0, 1))]),
  },
  { name: 'HPACK bomb', counter: 'hpackBombs', bytes: frame(1, 4, 1, bomb.subarray(0, 16_384)) },
  { name: 'SETTINGS flood', counter: 'settingsFloods', bytes: repeat(200, () => frame(4, 0, 0)) },
  {
    name: 'empty DATA',
    counter: 'emptyDataFloods',
    bytes: Buffer.concat([request(1), repeat(1_000, () => frame(0, 0, 1))]),
  },
  {
    name: 'DATA by the byte',
    counter: 'tinyDataFloods',
    bytes: Buffer.concat([request(1), repeat(5_000, () => frame(0, 0, 1, Buffer.alloc(1)))]),
  },
  {
    name: 'PRIORITY flood',
    counter: 'priorityFloods',
    bytes: repeat(2_000, () => frame(2, 0, 1, Buffer.alloc(5))),
  },
  {
    name: 'WINDOW_UPDATE flood',
    counter: 'windowUpdateFloods',
    bytes: repeat(1_000, () => frame(8, 0, 0, word(1))),
  },
];

const OPENING = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0)]);

/**
 * Attacks at the bounded rate until told to stop.
 *
 * @param {number} port
 * @param {Buffer} bytes
 */
function attack(port, bytes) {
  const sockets = new Set();
  let connections = 0;
  const timer = setInterval(() => {
    connections++;
    const socket = connect(port, '127.0.0.1');
    sockets.add(socket);
    // To be cut is what it came for.
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.resume();
    socket.write(OPENING);
    socket.write(bytes);
  }, 1000 / ATTACKS_PER_SECOND);
  return () => {
    clearInterval(timer);
    for (const socket of sockets) socket.destroy();
    return connections;
  };
}

/**
 * @param {number} rounds
 * @param {number} seconds
 * @param {(result: AttackResult) => void} keep
 */
export async function measureAttacks(rounds, seconds, keep) {
  const row = rowNamed('unary');
  const server = await start('millrace');
  try {
    const messages = await calibrate(row, server, seconds);
    for (const { name, counter, bytes } of attacks) {
      /** @type {number[]} */
      const alone = [];
      /** @type {number[]} */
      const attacked = [];
      let connections = 0;
      let stats = {};
      for (let round = 0; round < rounds; round++) {
        alone.push((await measure(row, server, messages, seconds)).messagesPerSecond);
        const stop = attack(server.port, bytes);
        try {
          const result = await measure(row, server, messages, seconds);
          attacked.push(result.messagesPerSecond);
          stats = result.stats;
        } finally {
          connections += stop();
        }
      }
      keep({
        attack: name,
        peer: 'millrace',
        alone: medianOf(alone),
        attacked: medianOf(attacked),
        ratio: medianOf(attacked) / medianOf(alone),
        connections,
        counted: countedIn(stats, counter),
        cpuMilliseconds: await costOf(server, bytes, seconds),
      });
    }
  } finally {
    await server.stop();
  }
}

/** For connections that were cut to be gone: they linger for half a second. */
const SETTLE_MS = 1_000;

/**
 * CPU time of the server for one attacking connection, in milliseconds.
 *
 * @param {import('./peers.mjs').Server} server
 * @param {Buffer} bytes
 * @param {number} seconds
 */
async function costOf(server, bytes, seconds) {
  await sleep(SETTLE_MS);
  const before = cpuSeconds(server.pid) ?? 0;
  const stop = attack(server.port, bytes);
  await sleep(seconds * 1000);
  const connections = stop();
  await sleep(SETTLE_MS);
  return (((cpuSeconds(server.pid) ?? 0) - before) * 1000) / connections;
}

/**
 * @param {any} stats of a server
 * @param {string} counter
 */
function countedIn(stats, counter) {
  let sum = 0;
  for (const thread of stats.threads ?? []) sum += Number(thread.http2?.[counter] ?? 0);
  return sum;
}
