// A cancelled call: its handler hears of it first and ends after it, and nothing of it stays.

import { expect, onTestFinished, test } from 'vitest';
import { clientOf, failure, grpc, say } from '../support/echo-client.js';
import { decodeCollect, echoFrame } from '../support/echo-wire.js';
import { eventually } from '../support/eventually.js';
import { RawPeer, Reset } from '../support/raw-peer.js';
import type { HandlerCounters } from '../support/server/protocol.js';
import { startServer, type TestServer } from '../support/server.js';

function counted(
  server: TestServer,
  what: string,
  accept: (counters: HandlerCounters) => boolean,
): Promise<HandlerCounters> {
  return eventually(what, () => server.counters(), accept);
}

test('a client that gives up, in each kind', async () => {
  const server = await startServer();
  const start = await server.stats();
  const client = clientOf(server);
  const metadata = new grpc.Metadata();
  metadata.set('mode', 'never-ends');
  const calls = [
    client.say({ text: 'x' }, metadata, {}, () => {}),
    client.collect(metadata, {}, () => {}),
    client.expand({ count: 1 }, metadata, {}),
    client.chat(metadata, {}),
  ];
  for (const call of calls) call.on('error', () => {});
  for (const call of calls.slice(1)) call.on('data', () => {});
  await counted(server, 'all handlers run', ({ started }) => started === calls.length);
  for (const call of calls) call.cancel();
  const counters = await counted(server, 'all have ended', ({ ended }) => ended === calls.length);
  expect(counters.aborted).toBe(calls.length);
  expect(counters.endedBeforeAbort).toBe(0);
  expect(counters.reasons).toEqual({ [grpc.status.CANCELLED]: calls.length });
  client.close();
  await server.backAt(start);
});

test('a handler that waits for the next message is woken by the cancellation', async () => {
  const server = await startServer();
  const start = await server.stats();
  const peer = await RawPeer.connect(server.port);
  onTestFinished(() => peer.close());
  const stream = peer.request({});
  await stream.send(echoFrame({ text: 'first' }));
  await stream.receivedMessages(1);
  stream.reset(Reset.CANCEL);
  const counters = await counted(server, 'the handler ends', ({ ended }) => ended === 1);
  expect(counters).toMatchObject({ aborted: 1, endedBeforeAbort: 0, truncated: 0 });
  await peer.close();
  await server.backAt(start);
});

test('the callback form is told once', async () => {
  const server = await startServer();
  const start = await server.stats();
  const peer = await RawPeer.connect(server.port);
  onTestFinished(() => peer.close());
  const stream = peer.request({ path: '/millrace.echo.v1.Echo/ChatFast' });
  await stream.send(echoFrame({ text: 'x' }));
  await stream.receivedMessages(1);
  stream.reset(Reset.CANCEL);
  const counters = await counted(server, 'closed() was called', ({ closed }) => closed > 0);
  expect(counters).toMatchObject({ closed: 1, aborted: 1 });
  await peer.close();
  await server.backAt(start);
});

test('a call that ends well never aborts its signal', async () => {
  const server = await startServer();
  const start = await server.stats();
  const client = clientOf(server);
  await Promise.all(Array.from({ length: 100 }, (_, index) => say(client, { text: `${index}` })));
  client.close();
  await server.backAt(start);
  expect(await server.counters()).toMatchObject({ started: 100, ended: 100, aborted: 0 });
});

test('a handler that leaves its requests early answers, and the rest is not waited for', async () => {
  const server = await startServer();
  const start = await server.stats();
  const peer = await RawPeer.connect(server.port);
  onTestFinished(() => peer.close());
  const stream = peer.request({ path: '/millrace.echo.v1.Echo/Collect', mode: 'leave:2' });
  // More than the stream's window holds: it is discarded and credited, not left to lie.
  const message = echoFrame({ data: Buffer.alloc(10_000, 1) });
  const sent = stream.send(Buffer.concat(Array.from({ length: 50 }, () => message)));
  const end = await stream.end;
  await sent;
  expect(end.code).toBe(grpc.status.OK);
  expect(decodeCollect(stream.messages[0]!)).toEqual({ count: 2, bytes: 20_000 });
  await eventually(
    'RST_STREAM(NO_ERROR) behind the answer',
    () => stream.lateReset === Reset.NO_ERROR,
  );
  expect((await server.counters()).aborted).toBe(0);
  // The connection goes on, with all of its window.
  const next = peer.request({});
  await next.send(echoFrame({ text: 'next' }), true);
  expect((await next.end).code).toBe(grpc.status.OK);
  await peer.close();
  await server.backAt(start);
});

test('a reset before the handler has begun, and one after the answer, do no harm', async () => {
  const server = await startServer();
  const start = await server.stats();
  const peer = await RawPeer.connect(server.port);
  onTestFinished(() => peer.close());
  for (let count = 0; count < 100; count++) {
    const early = peer.request({ path: '/millrace.echo.v1.Echo/Say' });
    early.sendData(echoFrame({ text: 'early' }), true);
    early.reset(Reset.CANCEL);
    const late = peer.request({ path: '/millrace.echo.v1.Echo/Say' });
    late.sendData(echoFrame({ text: 'late' }), true);
    expect((await late.end).code).toBe(grpc.status.OK);
    late.reset(Reset.CANCEL);
  }
  await peer.close();
  await server.backAt(start);
  const { started, ended } = await server.counters();
  expect(ended).toBe(started);
});

test('the error that a cancelled client sees is its own', async () => {
  const server = await startServer();
  const client = clientOf(server);
  const call = client.say({}, new grpc.Metadata(), {}, () => {});
  const failed = failure(new Promise((_, reject) => call.once('status', reject)));
  call.cancel();
  expect((await failed).code).toBe(grpc.status.CANCELLED);
});
