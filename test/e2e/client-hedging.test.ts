// What hedged calls must survive: attempts that find no connection, that the server has not looked
// at, or that would miss what was written before them.

import type * as grpc from '@grpc/grpc-js';
import { Status } from 'millrace';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { honest, startForeign } from '../support/foreign-server.js';
import { encodeFields } from '../support/hpack.js';
import { startNegative } from '../support/negative-server.js';
import { ourClient, ourConnection, statusOf } from '../support/our-client.js';
import { Flag, FrameType } from '../support/raw-peer.js';

function hedged(maxAttempts: number, hedgingDelay: string) {
  return { methodConfig: [{ name: [{}], hedgingPolicy: { maxAttempts, hedgingDelay } }] };
}

test('an attempt that finds no connection does not end the one that has one', async () => {
  let answer: (() => void) | undefined;
  const { port, server } = await startForeign({
    ...honest,
    say(call: grpc.ServerUnaryCall<object, object>, callback: grpc.sendUnaryData<object>) {
      answer = () => callback(null, call.request);
    },
  });
  const { client, connection } = ourConnection(port, { serviceConfig: hedged(2, '0.3s') });
  const reply = client.say({ text: 'first' });
  await eventually('the call', () => answer !== undefined);
  // GOAWAY: the call goes on, and nobody listens for the next attempt.
  server.tryShutdown(() => {});
  await eventually('GOAWAY', () => connection.state !== 'ready');
  connection.connect();
  await eventually('a failure', () => connection.state === 'transient-failure');
  // Until the next attempt has been due.
  await new Promise((resolve) => setTimeout(resolve, 400));
  answer?.();
  expect((await reply).text).toBe('first');
});

test('an attempt that the server has refused unseen is made again, as without hedging', async () => {
  const REFUSED_STREAM = 7;
  const { port } = await startNegative((connection, stream) => {
    if (stream === 1) connection.reset(stream, REFUSED_STREAM);
    else connection.succeed(stream);
  });
  const client = ourClient(port, { serviceConfig: hedged(2, '30s') });
  expect((await client.say({})).data.length).toBe(10);
});

test('a server that refuses every attempt unseen is told as unavailable', async () => {
  const REFUSED_STREAM = 7;
  const { port, connections } = await startNegative((connection, stream) => {
    connection.reset(stream, REFUSED_STREAM);
  });
  const client = ourClient(port, { serviceConfig: hedged(2, '30s') });
  expect((await statusOf(client.say({}))).code).toBe(Status.UNAVAILABLE);
  expect(connections[0]?.streams).toBe(2);
});

test('once the requests are no longer kept, no attempt begins that would miss them', async () => {
  let calls = 0;
  const { port } = await startForeign({
    ...honest,
    collect(
      call: grpc.ServerReadableStream<{ data: Buffer }, object>,
      callback: grpc.sendUnaryData<object>,
    ) {
      calls++;
      (honest['collect'] as (...given: unknown[]) => void)(call, callback);
    },
  });
  let found!: (addresses: string[]) => void;
  const { client, connection } = ourConnection(`dns:name.test:${port}`, {
    serviceConfig: hedged(2, '0s'),
    retryBuffer: { callBytes: 1000 },
    lookup: () => new Promise((resolve) => (found = resolve)),
  });
  const call = client.collect();
  await eventually('both attempts wait', () => connection.stats().callsWaiting === 2);
  for (let index = 0; index < 4; index++) call.write({ data: new Uint8Array(1000) });
  call.end();
  found(['127.0.0.1']);
  expect((await call.response).count).toBe(4n);
  expect(calls).toBe(1);
});

test('where the bound on kept requests is reached, one of the attempts goes on', async () => {
  const calls: grpc.ServerReadableStream<{ data: Buffer }, object>[] = [];
  const { port } = await startForeign({
    ...honest,
    collect(
      call: grpc.ServerReadableStream<{ data: Buffer }, object>,
      callback: grpc.sendUnaryData<object>,
    ) {
      calls.push(call);
      (honest['collect'] as (...given: unknown[]) => void)(call, callback);
    },
  });
  const { client, connection } = ourConnection(port, {
    serviceConfig: hedged(2, '0.01s'),
    retryBuffer: { callBytes: 1000 },
  });
  const call = client.collect();
  call.write({ data: new Uint8Array(500) });
  await eventually('both attempts', () => calls.length === 2);
  for (let index = 0; index < 3; index++) call.write({ data: new Uint8Array(1000) });
  expect(connection.stats().bufferedBytes).toBe(0);
  await eventually('one attempt', () => calls.filter((one) => one.cancelled).length === 1);
  call.end();
  expect((await call.response).count).toBe(4n);
});

test('response headers commit a call: a status behind them is its own', async () => {
  const { port, connections } = await startNegative((connection, stream) => {
    connection.headers(stream);
    const status = encodeFields([['grpc-status', String(Status.UNAVAILABLE)]]);
    connection.send(FrameType.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, stream, status);
  });
  const hedgingPolicy = {
    maxAttempts: 2,
    hedgingDelay: '30s',
    nonFatalStatusCodes: ['UNAVAILABLE'],
  };
  const client = ourClient(port, {
    serviceConfig: { methodConfig: [{ name: [{}], hedgingPolicy }] },
  });
  expect((await statusOf(client.say({}))).code).toBe(Status.UNAVAILABLE);
  expect(connections[0]?.streams).toBe(1);
});
