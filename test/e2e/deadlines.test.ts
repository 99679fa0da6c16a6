// Deadlines: the server keeps them itself, whether or not the client still listens.

import { expect, onTestFinished, test } from 'vitest';
import { chat, clientOf, collect, expand, failure, grpc, say } from '../support/echo-client.js';
import { echoFrame } from '../support/echo-wire.js';
import { eventually } from '../support/eventually.js';
import { patience } from '../support/patience.js';
import { RawPeer, Reset } from '../support/raw-peer.js';
import { startServer, type TestServer } from '../support/server.js';
import { total } from '../support/stats.js';

const SAY = '/millrace.echo.v1.Echo/Say';

/** Where the time went, as the server says it. */
const BREAKDOWN =
  /^deadline exceeded: \d+ ms were left when the handler was called; then \d+ ms in the handler, \d+ ms waiting for requests, \d+ ms waiting for the peer's window; the event loop noticed \d+ ms late$/;

async function peerOf(server: TestServer): Promise<RawPeer> {
  const peer = await RawPeer.connect(server.port);
  onTestFinished(() => peer.close());
  return peer;
}

test('each kind ends with DEADLINE_EXCEEDED, and its handler hears why', async () => {
  const server = await startServer();
  const start = await server.stats();
  const client = clientOf(server);
  // What a handler is to hear of must reach it in time: over a connection that exists.
  await say(client, {});
  const before = await server.counters();
  const late = { mode: 'never-ends', timeoutMs: 1000 };
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
    ({ ended }) => ended === before.ended + errors.length,
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
  else expect(end.message).toMatch(BREAKDOWN);
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

test('the server’s status says where the time went', async () => {
  const server = await startServer();
  const peer = await peerOf(server);
  const fields = [['grpc-timeout', '200m']] as const;
  // The handler takes long; it waits for requests; the request itself does not arrive.
  const slow = peer.request({ path: SAY, mode: 'sleep:400', fields });
  slow.sendData(echoFrame({ text: 'x' }), true);
  const silent = peer.request({ fields });
  const half = peer.request({ path: SAY, fields });
  half.sendData(echoFrame({ text: 'x' }).subarray(0, 4));
  const [inHandler, inRequests, arriving] = await Promise.all([slow.end, silent.end, half.end]);
  for (const end of [inHandler, inRequests, arriving]) {
    expect(end.code).toBe(grpc.status.DEADLINE_EXCEEDED);
  }
  const figure = (text: string, pattern: RegExp) => Number(pattern.exec(text)?.[1]);
  expect(inHandler.message).toMatch(BREAKDOWN);
  expect(figure(inHandler.message, /(\d+) ms in the handler/)).toBeGreaterThan(100);
  expect(inRequests.message).toMatch(BREAKDOWN);
  expect(figure(inRequests.message, /(\d+) ms waiting for requests/)).toBeGreaterThan(100);
  expect(arriving.message).toBe('the deadline passed before the whole request had arrived');
  const { started } = await server.counters();
  await eventually(
    'all handlers have ended',
    () => server.counters(),
    ({ ended }) => ended === started,
  );
});

test('trailers that the handler has set leave with its deadline', async () => {
  const server = await startServer();
  const peer = await peerOf(server);
  const late = peer.request({
    path: SAY,
    mode: 'trailers-then-never',
    fields: [['grpc-timeout', '100m']],
  });
  late.sendData(echoFrame({}), true);
  expect(await late.end).toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED });
  expect(late.trailers).toContainEqual(['x-so-far', 'half']);
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
  // None of the time is for connecting.
  await say(client, {});
  const timeoutMs = patience(2000);
  await Promise.all(
    Array.from({ length: 50 }, () => say(client, {}, { mode: 'sleep:10', timeoutMs })),
  );
  // Longer than the deadlines of all of them.
  await say(client, {}, { mode: `sleep:${timeoutMs + 100}` });
  expect(await server.counters()).toMatchObject({ started: 52, ended: 52, aborted: 0 });
  client.close();
  await server.backAt(start);
});
