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

export const CONNECTIONS = 8;

/** Buffers that each connection has on average, in both programs. */
export const BUFFERS = 256;
