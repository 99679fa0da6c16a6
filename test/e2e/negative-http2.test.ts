// gRPC's negative HTTP/2 cases: our client against a server that does unusual and wrong things.
//
// Source: https://github.com/grpc/grpc/blob/master/doc/negative-http2-interop-test-descriptions.md

import { Status } from 'millrace';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { reply, startNegative } from '../support/negative-server.js';
import { ourClient, ourConnection, statusOf } from '../support/our-client.js';

const MAX_CONCURRENT_STREAMS = 3;
const timeoutMs = 20_000;

test('goaway: the next call goes over another connection', async () => {
  const server = await startNegative((connection, stream) => {
    connection.succeed(stream);
    if (server.connections.length === 1) connection.goAway(stream);
  });
  const { client, connection } = ourConnection(server.port);
  await client.say({}, { timeoutMs });
  // The state changes when the GOAWAY has arrived.
  await eventually(
    'the connection is left',
    async () => connection.state,
    (state) => state !== 'ready',
  );
  expect((await client.say({}, { timeoutMs })).data.length).toBe(10);
  expect(server.connections.length).toBe(2);
});

test('rst_after_header', async () => {
  const server = await startNegative((connection, stream) => {
    connection.headers(stream);
    connection.reset(stream);
  });
  const error = await statusOf(ourClient(server.port).say({}, { timeoutMs }));
  expect(error.code).toBe(Status.INTERNAL);
});

test('rst_during_data', async () => {
  const server = await startNegative((connection, stream) => {
    connection.headers(stream);
    connection.data(stream, reply(1000).subarray(0, 500));
    connection.reset(stream);
  });
  const error = await statusOf(ourClient(server.port).say({}, { timeoutMs }));
  expect(error.code).toBe(Status.INTERNAL);
});

test('rst_after_data', async () => {
  const server = await startNegative((connection, stream) => {
    connection.headers(stream);
    connection.data(stream, reply(1000));
    connection.reset(stream);
  });
  const error = await statusOf(ourClient(server.port).say({}, { timeoutMs }));
  expect(error.code).toBe(Status.INTERNAL);
});

test('ping: each is acknowledged, before, between and after the frames of an answer', async () => {
  const server = await startNegative((connection, stream) => {
    connection.ping('one');
    connection.headers(stream);
    connection.ping('two');
    connection.data(stream, reply(100));
    connection.ping('three');
    connection.trailers(stream);
    connection.ping('four');
  });
  const client = ourClient(server.port);
  expect((await client.say({}, { timeoutMs })).data.length).toBe(100);
  await eventually(
    'every PING is acknowledged',
    async () => server.connections[0]?.pongs.map((text) => text.trim()) ?? [],
    (pongs) => pongs.join() === 'one,two,three,four',
  );
});

test('max_streams: calls beyond the limit wait for their turn', async () => {
  const server = await startNegative(
    // A turn later, so that calls beyond the limit would be seen.
    (connection, stream) => setImmediate(() => connection.succeed(stream)),
    [[MAX_CONCURRENT_STREAMS, 1]],
  );
  const client = ourClient(server.port);
  await client.say({}, { timeoutMs });
  const replies = await Promise.all(
    Array.from({ length: 15 }, () => client.say({}, { timeoutMs })),
  );
  expect(replies.map(({ data }) => data.length)).toEqual(Array(15).fill(10));
  expect(server.connections.map(({ openMost }) => openMost)).toEqual([1]);
});

test('data_frame_padding: padding counts against the windows and is credited', async () => {
  const bytes = 100_000;
  const message = reply(bytes);
  const server = await startNegative((connection, stream) => {
    connection.headers(stream);
    for (let at = 0; at < message.length; at += 5) {
      connection.data(stream, message.subarray(at, at + 5), 255);
    }
    connection.trailers(stream);
  });
  const answer = await ourClient(server.port).say({}, { timeoutMs });
  expect(answer.data.length).toBe(bytes);
  expect(answer.data.every((byte) => byte === 7)).toBe(true);
});
