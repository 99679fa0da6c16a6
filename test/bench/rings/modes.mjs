// What is compared: the modes of our proxy (native/crates/ring/examples/proxy), and the options that
// make liburing's proxy do the same.

/**
 * @typedef {object} Mode
 * @property {string} name as our proxy knows it
 * @property {string} receive
 * @property {string} send
 * @property {string[]} [theirs] the options of liburing's proxy; without them it has no such mode
 */

/** @type {Mode[]} */
export const modes = [
  {
    ...{ name: 'single-serialised', receive: 'single-shot', send: 'one packet at a time' },
    theirs: ['-m0', '-u0'],
  },
  {
    ...{ name: 'multishot-serialised', receive: 'multishot', send: 'one packet at a time' },
    theirs: ['-m1', '-u0'],
  },
  {
    ...{ name: 'single-bundles', receive: 'single-shot', send: 'bundles' },
    theirs: ['-m0', '-u1', '-C1'],
  },
  {
    ...{ name: 'multishot-vectored', receive: 'multishot', send: 'vectored' },
    theirs: ['-m1', '-u0', '-M1'],
  },
  {
    ...{ name: 'multishot-bundles', receive: 'multishot', send: 'bundles' },
    theirs: ['-m1', '-u1', '-C1'],
  },
  {
    ...{ name: 'bundles', receive: 'multishot, bundles', send: 'bundles' },
    theirs: ['-m1', '-c1', '-u1', '-C1'],
  },
  { name: 'bundles-packed', receive: 'multishot, bundles', send: 'bundles of 16 KiB chunks' },
  { name: 'classic', receive: 'single-shot after a poll', send: 'vectored' },
  { name: 'portable', receive: 'readiness (epoll), `readv`', send: 'vectored, `writev`' },
];

/** Bytes of a packet, which are those of a receive buffer. */
export const packets = [128, 1500, 16_384];

const CONNECTIONS = 8;

/**
 * Both programs with a thread for each connection, since liburing's has no other way.
 *
 * @param {number} packet
 * @returns {import('./measure.mjs').Load}
 */
export const compared = (packet) => {
  return { packet, connections: CONNECTIONS, threads: CONNECTIONS, copies: false };
};

/**
 * Ours with one thread, as a server has it.
 *
 * @param {number} packet
 */
export const together = (packet) => ({ ...compared(packet), threads: 1 });

/** The modes that are measured on one thread for all connections, too. */
export const togetherModes = [
  ...['single-serialised', 'multishot-serialised', 'multishot-bundles'],
  ...['bundles', 'bundles-packed', 'portable'],
];

/** @param {number} packet */
export const alone = (packet) => ({ ...compared(packet), connections: 1, threads: 1 });

/** @param {number} packet */
export const copying = (packet) => ({ ...compared(packet), copies: true });

/** Receive buffers that liburing's proxy has for each connection. */
export const BUFFERS = 256;
