// Deadlines: the server keeps them itself, whether or not the client still listens.

import { expect, onTestFinished, test } from 'vitest';
import { chat, clientOf, collect, expand, failure, grpc, say } from '../support/echo-client.js';
import { echoFrame } from '../support/echo-wire.js';
import { eventually } from '../support/eventually.js';
import { RawPeer, Reset } from '../support/raw-peer.js';
import { startServer, type TestServer } from '../support/server.js';
import { total } from '../support/stats.js';

const SAY = '/millrace.echo.v1.Echo/Say';

async function peerOf(server: TestServer): Promise<RawPeer> {
  const peer = await RawPeer.connect(server.port);
  onTestFinished(() => peer.close());
  return peer;
}

test('each kind ends with DEADLINE_EXCEEDED, and its handler hears why', async () => {
  const server = await startServer();
  const start = await server.stats();
  const client = clientOf(server);
  const late = { mode: 'never-ends', timeoutMs: 150 };
  const errors = await Promise.all([
    failure(say(client, {}, late)),
    failure(collect(client, [{}], late)),
    failure(expand(client, { count: 1 }, late)),
    failure(chat(client, 'chat', [{}], late)),
  ]);
  expect(errors.map(({ code }) => code)).toEqual(errors.map(() => grpc.status.DEADLINE_EXCEEDED));
  const { aborted } = await eventually(
    'all handlers have ended',
    () => server.counters(),
    ({ ended }) => ended === errors.length,
  );
  expect(aborted).toBe(errors.length);
  client.close();
  await server.backAt(start);
});

test('the server ends the call without the help of its client', async () => {
  const server = await startServer();
  const start = await server.stats();
  const peer = await peerOf(server);
  const begun = performance.now();
  const stream = peer.request({
    path: SAY,
    mode: 'never-ends',
    fields: [['grpc-timeout', '200m']],
  });
  stream.sendData(echoFrame({ text: 'x' }), true);
  const end = await stream.end;
  expect(performance.now() - begun).toBeGreaterThan(150);
  // Trailers that say so, or a reset: a client maps either to its own deadline.
  expect([grpc.status.DEADLINE_EXCEEDED, undefined]).toContain(end.code);
  if (end.code === undefined) expect(end.reset).toBe(Reset.CANCEL);
  const counters = await eventually(
    'the handler has ended',
    () => server.counters(),
    ({ ended }) => ended === 1,
  );
  expect(counters.reasons).toEqual({ [grpc.status.DEADLINE_EXCEEDED]: 1 });
  expect(total(await server.stats(), 'deadlinesExceeded')).toBe(1);
  await peer.close();
  await server.backAt(start);
});

test('a deadline that has passed reaches no handler; a malformed one neither', async () => {
  const server = await startServer();
  const peer = await peerOf(server);
  const passed = peer.request({ path: SAY, fields: [['grpc-timeout', '0m']] });
  passed.sendData(echoFrame({}), true);
  expect((await passed.end).code).toBe(grpc.status.DEADLINE_EXCEEDED);
  const malformed = peer.request({ path: SAY, fields: [['grpc-timeout', 'soon']] });
  malformed.sendData(echoFrame({}), true);
  expect((await malformed.end).code).toBe(grpc.status.INTERNAL);
  expect((await server.counters()).started).toBe(0);
});

test('a handler sees its deadline, and none where none was set', async () => {
  const server = await startServer();
  const client = clientOf(server);
  const before = Date.now();
  const { text } = await say(client, {}, { mode: 'metadata', timeoutMs: 60_000 });
  const left = Date.parse(text) - before;
  expect(left).toBeGreaterThan(55_000);
  expect(left).toBeLessThan(65_000);
  expect((await say(client, {}, { mode: 'metadata' })).text).toBe('no deadline');
});

test('a call that ends in time is not disturbed by its deadline', async () => {
  const server = await startServer();
  const start = await server.stats();
  const client = clientOf(server);
  const timeoutMs = 300;
  await Promise.all(
    Array.from({ length: 50 }, () => say(client, {}, { mode: 'sleep:10', timeoutMs })),
  );
  // Longer than the deadlines of all of them.
  await say(client, {}, { mode: `sleep:${timeoutMs + 100}` });
  expect(await server.counters()).toMatchObject({ started: 51, ended: 51, aborted: 0 });
  client.close();
  await server.backAt(start);
});
