// What a connection holds unsent is bounded for the connection, however many handlers write to it
// at once; and what others do not read holds nobody up whose peer reads.

import { expect, onTestFinished, test } from 'vitest';
import { decodeEcho, encodeEcho } from '../support/echo-wire.js';
import { eventually } from '../support/eventually.js';
import { MIB } from '../support/probes.js';
import { RawPeer } from '../support/raw-peer.js';
import { startServer, type TestServer } from '../support/server.js';
import { total } from '../support/stats.js';

const BOUND = 2 * MIB;
/** What handlers may have put into the arena when the bound is reached. */
const ARENA = MIB;
const WINDOW_MAX = 2 ** 31 - 1;

async function started(): Promise<TestServer> {
  return startServer({ limits: { connectionUnsentBytes: BOUND }, logLevel: 'warn' });
}

async function connected(server: TestServer, window: number): Promise<RawPeer> {
  const peer = await RawPeer.connect(server.port, {
    keep: false,
    autoCredit: false,
    settings: [[4, window]],
  });
  onTestFinished(() => peer.close());
  await peer.ping();
  return peer;
}

/** The most that was unsent at any look, until all of those handlers have run. */
async function highest(server: TestServer, handlers: number): Promise<number> {
  let most = 0;
  let steady = 0;
  let last = -1;
  await eventually(
    'nothing changes any more',
    async () => {
      const now = total(await server.stats(), 'unsentBytes');
      most = Math.max(most, now);
      const { started: running } = await server.counters();
      steady = now === last && running === handlers ? steady + 1 : 0;
      last = now;
      return steady;
    },
    (looks) => looks > 20,
  );
  return most;
}

test.each([
  ['a socket that is not read', WINDOW_MAX],
  ['windows that stay closed', 65_535],
])('500 handlers that flood at once: %s', async (_what, window) => {
  const server = await started();
  const peer = await connected(server, window);
  peer.creditConnectionFully();
  for (let count = 0; count < 500; count++) peer.request({ mode: 'flood' });
  if (window === WINDOW_MAX) peer.socket.pause();
  const most = await highest(server, 500);
  console.info(`${server.driver}: at most ${(most / MIB).toFixed(2)} MiB unsent`);
  expect(most).toBeGreaterThan(BOUND / 8);
  expect(most).toBeLessThanOrEqual(BOUND + ARENA);
});

test('who reads is not held up by those whose peer does not', async () => {
  const server = await started();
  // Windows that cut a message in two leave several KiB of each stream unsent: together more than
  // the bound, whatever the order in which the windows close.
  const peer = await RawPeer.connect(server.port, { autoCredit: false, settings: [[4, 60_000]] });
  onTestFinished(() => peer.close());
  await peer.ping();
  peer.creditConnectionFully();
  for (let count = 0; count < 500; count++) peer.request({ mode: 'flood' });
  await highest(server, 500);
  expect(total(await server.stats(), 'unsentBytes')).toBeGreaterThan((BOUND / 4) * 3);
  const stream = peer.request();
  const sent = Array.from({ length: 200 }, (_, index) => ({
    text: String(index),
    data: Buffer.alloc(1000, index),
  }));
  for (const [index, message] of sent.entries()) {
    await stream.sendMessage(encodeEcho(message), index === sent.length - 1);
    await stream.receivedMessages(index + 1);
    peer.credit(stream.id, 1100);
  }
  expect((await stream.end).code).toBe(0);
  expect(stream.messages.map((message) => decodeEcho(message).text)).toEqual(
    sent.map(({ text }) => text),
  );
});

test('all goes on when the peer reads again', async () => {
  const server = await started();
  const peer = await connected(server, 65_535);
  const count = 500;
  const streams = Array.from({ length: count }, () => peer.request({ mode: 'flood' }));
  peer.creditConnectionFully();
  await highest(server, count);
  const before = streams.map((stream) => stream.count);
  for (const stream of streams) peer.credit(stream.id, 100_000);
  await eventually(
    'every stream has moved on',
    () => streams.filter((stream, index) => stream.count >= before[index]! + 3).length,
    (moved) => moved === count,
  );
});
