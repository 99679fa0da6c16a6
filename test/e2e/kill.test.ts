// Connections are killed mid-stream at random moments, 1,000 of them, while honest calls go on.

import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { assertEchoed, chat, echoClient } from '../support/echo-client.js';
import { echoFrame } from '../support/echo-wire.js';
import { eventually } from '../support/eventually.js';
import { patience } from '../support/patience.js';
import { RawPeer } from '../support/raw-peer.js';
import { type Random, random, seedForTest } from '../support/seed.js';
import { startServer } from '../support/server.js';
import { total } from '../support/stats.js';

const KILLS = 1000;
const AT_A_TIME = 25;
const EXPECTED = 10;

/** One connection with a few streams that upload, echo and download, killed somewhere on the way. */
async function victim(port: number, choose: Random): Promise<void> {
  const peer = await RawPeer.connect(port, {
    keep: false,
    autoCredit: choose.between(0, 1) === 1,
    settings: choose.between(0, 1) === 1 ? [[4, 2 ** 31 - 1]] : [],
  });
  const message = echoFrame({ data: Buffer.alloc(choose.between(0, 30_000), 1) });
  for (let count = choose.between(1, 4); count > 0; count--) {
    const method = choose.pick(['Collect', 'Chat', 'ChatFast', 'Expand', 'Say']);
    const stream = peer.request({
      path: `/millrace.echo.v1.Echo/${method}`,
      ...(method === 'Expand' ? { mode: 'flood' } : {}),
      fields: [['expected', String(EXPECTED)]],
    });
    const unary = method === 'Expand' || method === 'Say';
    // Never all of what was announced.
    const messages = unary ? 1 : choose.between(0, EXPECTED - 1);
    const bytes = Buffer.concat(Array.from({ length: messages }, () => message));
    void stream.send(bytes.subarray(0, choose.between(0, bytes.length)), unary);
  }
  const moment = choose.between(0, 3);
  if (moment === 1) await peer.ping().catch(() => {});
  if (moment > 1) await delay(choose() * 10);
  if (choose.between(0, 2) === 0) peer.socket.end();
  else peer.kill();
  await Promise.race([peer.closed, delay(50)]);
  peer.kill();
  await peer.closed;
}

test(`${KILLS} connections killed mid-stream under load leave nothing behind`, {
  timeout: patience(120_000),
}, async () => {
  const server = await startServer({ logLevel: 'warn' });
  const choose = random(seedForTest());

  // Warm: what is opened once is open before the descriptors are counted.
  await victim(server.port, choose);
  const start = await eventually(
    'the first victim is gone',
    () => server.stats(),
    (stats) => total(stats, 'connections') === 0 && total(stats, 'activeCalls') === 0,
  );
  const descriptors = server.openDescriptors();

  let over = false;
  const honest = Array.from({ length: 4 }, async (_, number) => {
    const client = echoClient(server.port);
    const messages = Array.from({ length: 50 }, (_, index) => ({
      text: `${number}/${index}`,
      data: Buffer.alloc(index * 100, index),
    }));
    let rounds = 0;
    for (; !over; rounds++) {
      const method = rounds % 2 === 0 ? 'chat' : 'chatFast';
      assertEchoed(await chat(client, method, messages), messages);
    }
    client.close();
    return rounds;
  });
  let left = KILLS;
  await Promise.all(
    Array.from({ length: AT_A_TIME }, async () => {
      while (left-- > 0) await victim(server.port, choose);
    }),
  );
  over = true;
  for (const rounds of await Promise.all(honest)) expect(rounds).toBeGreaterThan(0);

  await server.backAt(start);
  expect(total(await server.stats(), 'leakedRegions')).toBe(0);
  const counters = await server.counters();
  expect(counters.ended).toBe(counters.started);
  expect(counters.aborted).toBeGreaterThan(100);
  expect(counters.endedBeforeAbort).toBe(0);
  expect(counters.truncated).toBe(0);
  await eventually('descriptors are closed', () => server.openDescriptors() <= descriptors);
});
