// Connections that have become old or idle end without losing a call (gRFC A9).

import { expect, onTestFinished, test } from 'vitest';
import { clientOf, type EchoClient, say } from '../support/echo-client.js';
import { echoFrame } from '../support/echo-wire.js';
import { eventually } from '../support/eventually.js';
import { ourClient } from '../support/our-client.js';
import { RawPeer, type RawPeerOptions } from '../support/raw-peer.js';
import { startServer, type TestServer } from '../support/server.js';
import { http2Total, total } from '../support/stats.js';

const FIRST_STEP = 2 ** 31 - 1;
const UNAVAILABLE = 14;

async function peerOf({ port }: TestServer, options?: RawPeerOptions): Promise<RawPeer> {
  const peer = await RawPeer.connect(port, options);
  onTestFinished(() => peer.close());
  return peer;
}

test('an old connection: two steps, then its grace, then UNAVAILABLE', async () => {
  const limits = { maxConnectionAgeMs: 200, maxConnectionAgeGraceMs: 8000 };
  const server = await startServer({ limits });
  // The second step waits for the answer to a PING, so that there is time between the two.
  const peer = await peerOf(server, { answersPings: false });
  const open = peer.request();
  open.sendData(echoFrame({ text: 'before' }));
  await open.receivedMessages(1);

  expect(await peer.goingAway()).toEqual({ lastStream: FIRST_STEP, reason: 0, debug: 'max_age' });
  const late = peer.request();
  late.sendData(echoFrame({ text: 'late' }), true);
  expect(await late.end).toMatchObject({ code: 0 });
  await eventually('the second step', () => peer.goAway?.lastStream === late.id);
  expect(peer.goAway).toMatchObject({ reason: 0, debug: 'max_age' });

  open.sendData(echoFrame({ text: 'after' }));
  await open.receivedMessages(2);
  expect(open.isOver).toBe(false);
  const end = await open.end;
  expect(end.code).toBe(UNAVAILABLE);
  expect(end.message).toContain('greatest age');
  await peer.closed;

  await eventually('the handler has heard of it', async () => {
    return (await server.counters()).reasons[UNAVAILABLE] === 1;
  });
  const stats = await server.stats();
  expect(http2Total(stats, 'ageCloses')).toBe(1);
  expect(http2Total(stats, 'ageGraceCloses')).toBe(1);
  expect(http2Total(stats, 'connectionErrors')).toBe(0);
  await server.logMatching(/1 calls that outlived the grace/);
});

test('without a grace, calls take as long as they want, and the connection ends with the last', async () => {
  const server = await startServer({ limits: { maxConnectionAgeMs: 1000 } });
  const peer = await peerOf(server);
  const open = peer.request();
  open.sendData(echoFrame({ text: 'before' }));
  await peer.goingAway();
  await eventually('the second step', () => peer.goAway?.lastStream === open.id);
  for (let count = 0; count < 100; count++) open.sendData(echoFrame({ text: `${count}` }));
  await open.receivedMessages(101);
  open.sendData(Buffer.alloc(0), true);
  expect(await open.end).toMatchObject({ code: 0 });
  await peer.closed;
  expect(http2Total(await server.stats(), 'ageGraceCloses')).toBe(0);
});

test('an idle connection: two steps, and a request between them is served', async () => {
  const server = await startServer({ limits: { maxConnectionIdleMs: 100 } });
  const peer = await peerOf(server, { answersPings: false });
  expect(await peer.goingAway()).toEqual({ lastStream: FIRST_STEP, reason: 0, debug: 'max_idle' });
  const late = peer.request();
  late.sendData(echoFrame({ text: 'late' }));
  await late.receivedMessages(1);
  await eventually('the second step', () => peer.goAway?.lastStream === late.id);
  late.sendData(echoFrame({ text: 'later' }), true);
  expect(await late.end).toMatchObject({ code: 0 });
  await peer.closed;
  expect(http2Total(await server.stats(), 'idleCloses')).toBe(1);
});

test('a connection with a call is not idle', async () => {
  const server = await startServer({ limits: { maxConnectionIdleMs: 1000 } });
  const busy = await peerOf(server);
  const open = busy.request();
  open.sendData(echoFrame({ text: 'x' }));
  const idle = await peerOf(server);
  await idle.closed;
  await (await peerOf(server)).closed;
  expect(busy.goAway).toBeUndefined();
  open.sendData(Buffer.alloc(0), true);
  expect(await open.end).toMatchObject({ code: 0 });
  await busy.closed;
});

const clients: [string, (server: TestServer) => (text: string) => Promise<{ text: string }>][] = [
  [
    'grpc-js',
    (server) => {
      // A call that it has not sent when it is told to go is refused by itself, and made again.
      const client: EchoClient = clientOf(server, { 'grpc.enable_retries': 1 });
      return (text) => say(client, { text });
    },
  ],
  [
    'ours',
    (server) => {
      const client = ourClient(server.port);
      return async (text) => client.say({ text });
    },
  ],
];

test.each(clients)('no call is lost while connections come and go: %s', async (_, open) => {
  const server = await startServer({ limits: { maxConnectionAgeMs: 300 } });
  const call = open(server);
  let calls = 0;
  let enough = false;
  const lanes = Array.from({ length: 10 }, async (_, lane) => {
    while (!enough) {
      const text = `${lane}/${calls++}`;
      expect((await call(text)).text).toBe(text);
    }
  });
  const lasting = Promise.all(lanes);
  const connections = eventually(
    'several connections, one after another',
    async () => total(await server.stats(), 'connectionsAccepted'),
    (count) => count >= 4,
    30_000,
  );
  // A call that fails ends the test at once.
  await Promise.race([connections, lasting]);
  enough = true;
  await lasting;
  expect(calls).toBeGreaterThan(100);
});
