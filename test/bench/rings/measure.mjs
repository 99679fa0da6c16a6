// One figure: a proxy on the server's core, between the two ends of its load on the generator's.

import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { end, GENERATOR_CORE, SERVER_CORE, spawnOn } from '../processes.mjs';
import { BUFFERS } from './modes.mjs';

/**
 * @typedef {object} Load
 * @property {number} packet bytes
 * @property {number} connections
 * @property {number} threads of our proxy, which share the connections; liburing's has one for each
 * @property {boolean} copies whether it copies what it sends and receives
 */

/**
 * @typedef {object} Figure
 * @property {number} bytesPerSecond
 * @property {number} cpuNanoseconds of the proxy, for each packet
 * @property {number} proxyBusy share of its core, 0 … 1
 * @property {number} loadBusy share of its core, 0 … 1
 * @property {number} comparedBytes
 * @property {Counters | undefined} counters of our proxy over its whole life, if it came to its end
 */

/**
 * @typedef {object} Counters
 * @property {number} receives
 * @property {number} packets
 * @property {number} enobufs
 * @property {number} rearms
 * @property {number} sends
 * @property {number} systemCalls
 */

const WARM_UP_MS = 100;

/**
 * @param {string} program ours, which is both a proxy and a load
 * @param {(sink: number, listen: number) => string[]} proxy the command of the proxy; `listen` is a
 *   free port, for a proxy that cannot choose one
 * @param {boolean} ours whether it prints its port, and its counters at the end
 * @param {Load} load
 * @param {{ milliseconds: number, drains: boolean }} how how long, and whether the proxy has to deliver
 *   everything before it is ended
 * @returns {Promise<Figure>}
 */
async function measureOnce(program, proxy, ours, load, { milliseconds, drains }) {
  const { packet, connections, copies } = load;
  const ends = start(GENERATOR_CORE, [
    program,
    'load',
    String(connections),
    String(WARM_UP_MS),
    String(milliseconds),
    ...(copies ? ['copies'] : []),
    ...(drains ? ['drains'] : []),
  ]);
  const sink = Number(await ends.line());
  const listen = ours ? 0 : await freePort();
  const server = start(SERVER_CORE, proxy(sink, listen));
  try {
    const port = ours ? Number(await server.line()) : listen;
    ends.child.stdin?.end(`${port} ${server.child.pid}\n`);
    const figure = JSON.parse(await ends.line());
    return {
      bytesPerSecond: figure.bytes / figure.seconds,
      cpuNanoseconds: (figure.proxySeconds * 1e9 * packet) / figure.bytes,
      proxyBusy: figure.proxySeconds / figure.seconds,
      loadBusy: figure.loadSeconds / figure.seconds,
      comparedBytes: figure.compared,
      counters: ours && drains ? JSON.parse(await server.line()) : undefined,
    };
  } finally {
    await Promise.all([end(server.child), end(ends.child)]);
  }
}

/** Other work on the machine may leave a proxy no time at all; then once more. @type {typeof measureOnce} */
export async function measure(...how) {
  for (let attempt = 0; attempt < 3; attempt++) {
    const figure = await measureOnce(...how);
    if (figure.bytesPerSecond > 0) return figure;
  }
  throw new Error('Nothing passes: other work leaves the proxies no time. Use a quieter machine.');
}

/**
 * @param {string} program
 * @param {string} mode
 * @param {Load} load
 */
export function ourProxy(program, mode, { packet, connections, threads }) {
  return (/** @type {number} */ sink) => [
    ...[program, 'serve', mode, String(packet), String(connections), String(threads)],
    String(sink),
  ];
}

/**
 * @param {string} program
 * @param {string[]} options
 * @param {Load} load
 */
export function theirProxy(program, options, { packet }) {
  return (/** @type {number} */ sink, /** @type {number} */ listen) => [
    ...[program, ...options, `-b${packet}`, `-n${BUFFERS}`],
    ...['-H', '127.0.0.1', `-r${listen}`, `-p${sink}`],
  ];
}

/**
 * @param {number} core
 * @param {string[]} command
 */
function start(core, [program = '', ...args]) {
  const child = spawnOn(core, program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr?.on('data', (chunk) => {
    errors += chunk;
  });
  if (child.stdout === null) throw new Error(`${program} did not start`);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    /** The next line that it prints. */
    async line() {
      const { value, done } = await lines.next();
      if (done) throw new Error(`\`${[program, ...args].join(' ')}\` ended:\n${errors}`);
      return value;
    },
  };
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0));
    });
  });
}
