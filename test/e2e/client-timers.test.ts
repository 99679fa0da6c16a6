// A client's time limits hold to the millisecond, not to the next time somebody looks.

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { ourClient, statusOf } from '../support/our-client.js';

/** Less than what is between the times of two. */
const STILL_MS_MAX = 100;

test('connections to a server that says nothing fail in the order of their time limits', async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  onTestFinished(() => {
    silent.close();
    for (const socket of sockets) socket.destroy();
  });
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;

  /** Lets three fail, and tells for how long this process stood still at most meanwhile. */
  const round = async () => {
    const order: number[] = [];
    const turns = watchTurns();
    // The engine looks at all of its connections every 500 ms, in the order in which they were made.
    const calls = [450, 50, 250].map(async (connectTimeoutMs) => {
      const error = await statusOf(ourClient(port, { connectTimeoutMs }).say({}));
      expect(error.message).toContain(`sent no HTTP/2 SETTINGS within ${connectTimeoutMs} ms`);
      order.push(connectTimeoutMs);
    });
    await Promise.all(calls);
    return { order, stillMs: turns.longestMs() };
  };
  // What becomes due while the process stands still ends in one turn, in any order.
  const { order } = await eventually(
    'a round without a standstill',
    round,
    ({ stillMs }) => stillMs < STILL_MS_MAX,
    30_000,
  );
  expect(order).toEqual([50, 250, 450]);
});

/** Watches how long turns of the event loop take. */
function watchTurns(): { longestMs(): number } {
  let longestMs = 0;
  let last = performance.now();
  const look = () => {
    const now = performance.now();
    longestMs = Math.max(longestMs, now - last);
    last = now;
  };
  const timer = setInterval(look, 5).unref();
  return {
    longestMs() {
      clearInterval(timer);
      look();
      return longestMs;
    },
  };
}
