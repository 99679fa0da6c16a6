// Waiting costs nothing: a server whose peers, handlers or buffers make it wait does not spin.

import { setTimeout as delay } from 'node:timers/promises';
import { onTestFinished, test } from 'vitest';
import { echoFrame } from '../support/echo-wire.js';
import { eventually } from '../support/eventually.js';
import { patience } from '../support/patience.js';
import { processorMs } from '../support/probes.js';
import { RawPeer, type RawPeerOptions } from '../support/raw-peer.js';
import { type StartOptions, startServer, type TestServer } from '../support/server.js';

const WINDOW_MAX = 2 ** 31 - 1;
const WATCHED_MS = 1000;
/** Timers of the runtime and of the engine take some. */
const ALLOWED_MS = 100;
/** After this it has to be quiet. */
const QUIET_MS_MAX = 15_000;

async function server(options: StartOptions = {}): Promise<TestServer> {
  return startServer({ logLevel: 'warn', ...options });
}

async function connections(
  { port }: TestServer,
  count: number,
  options?: RawPeerOptions,
): Promise<RawPeer[]> {
  const peers: RawPeer[] = [];
  onTestFinished(async () => {
    await Promise.all(peers.map((peer) => peer.close()));
  });
  for (let index = 0; index < count; index++) {
    const peer = await RawPeer.connect(port, { keep: false, ...options });
    peers.push(peer);
    await peer.ping();
  }
  return peers;
}

async function expectQuiet({ pid }: TestServer): Promise<void> {
  // What was under way comes to its end first; one that spins is never quiet.
  await eventually(
    'the server is quiet',
    async () => {
      const before = processorMs(pid);
      await delay(WATCHED_MS);
      return processorMs(pid) - before;
    },
    (milliseconds) => milliseconds <= ALLOWED_MS,
    QUIET_MS_MAX,
  );
}

test('without connections, and with 200 that say nothing', async () => {
  const idle = await server();
  await expectQuiet(idle);
  await connections(idle, 200);
  await expectQuiet(idle);
});

test('with handlers that do not pull, and a ring without a free buffer', async () => {
  const small = await server({ limits: { ringBuffers: 16 } });
  const peers = await connections(small, 40);
  for (const peer of peers) {
    for (let count = 0; count < 4; count++) {
      peer.request({ mode: 'gated-pull' }).sendAllItMay(echoFrame({ data: Buffer.alloc(15_000) }));
    }
  }
  await expectQuiet(small);
});

test('with peers that do not read', async () => {
  // They are there for as long as it may take to be quiet.
  const blocked = await server({ limits: { sendProgressTimeoutMs: patience(4 * QUIET_MS_MAX) } });
  const peers = await connections(blocked, 50, { settings: [[4, WINDOW_MAX]] });
  for (const peer of peers) {
    peer.creditConnectionFully();
    peer.request({ mode: 'flood' });
    peer.socket.pause();
  }
  await expectQuiet(blocked);
});

test('with peers that give no credit', async () => {
  const blocked = await server();
  const peers = await connections(blocked, 50, { autoCredit: false });
  for (const peer of peers) peer.request({ mode: 'flood' });
  await expectQuiet(blocked);
});
