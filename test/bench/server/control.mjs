// What every server under measurement tells the harness, over Node's IPC channel: where it listens,
// how late a 10 ms timer fires inside it, and its own statistics.

const INTERVAL_MS = 10;

/**
 * @typedef {object} Peer
 * @property {number} port
 * @property {string} name what it is and how it is set up
 * @property {() => Promise<unknown>} stats
 * @property {() => Promise<void>} close
 */

/** @param {Peer} peer */
export function control({ port, name, stats, close }) {
  /** @type {number[]} */
  let delays = [];
  /** @type {NodeJS.Timeout | undefined} */
  let timer;

  function arm() {
    const due = performance.now() + INTERVAL_MS;
    timer = setTimeout(() => {
      delays.push(Math.max(0, performance.now() - due));
      arm();
    }, INTERVAL_MS);
  }

  process.on('message', async (question) => {
    if (question === 'begin') {
      delays = [];
      clearTimeout(timer);
      arm();
      process.send?.({ kind: 'begun' });
    } else if (question === 'stats') {
      process.send?.({ kind: 'stats', stats: await stats() });
    } else if (question === 'end') {
      clearTimeout(timer);
      process.send?.({ kind: 'ended', delays, stats: await stats() });
    }
  });
  process.on('SIGTERM', async () => {
    clearTimeout(timer);
    await close();
    process.exit(0);
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.({ kind: 'listening', port, name });
}
