// Metadata between our two sides and those of others: every value arrives, in order and unchanged,
// and what cannot be sent is refused by its name.

import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2';
import { Metadata, type MetadataInit, Status } from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { clientOf, type EchoReply, grpc } from '../support/echo-client.js';
import { frame } from '../support/echo-wire.js';
import { honest, startForeign } from '../support/foreign-server.js';
import { startHttp2 } from '../support/http2-server.js';
import { ourClient, statusOf } from '../support/our-client.js';
import { startServer, type TestServer } from '../support/server.js';

const SAY = '/millrace.echo.v1.Echo/Say';
const BYTES = [new Uint8Array(), new Uint8Array([0, 255, 44]), new Uint8Array(300).fill(171)];

/** What a client of another make gets back of what it sent. */
function mirrored(server: TestServer, metadata: grpc.Metadata) {
  metadata.set('mode', 'mirror');
  const client = clientOf(server);
  return new Promise<{ reply: EchoReply; headers: grpc.Metadata; trailers: grpc.Metadata }>(
    (resolve, reject) => {
      let headers = new grpc.Metadata();
      let reply: EchoReply;
      const call = client.say({}, metadata, {}, (error, response) => {
        if (error !== null) reject(error);
        else reply = response!;
      });
      call.on('metadata', (received) => {
        headers = received;
      });
      call.on('status', ({ metadata: trailers }) => resolve({ reply, headers, trailers }));
    },
  );
}

test('another client’s metadata reaches the handler, and the handler’s the client', async () => {
  const sent = new grpc.Metadata();
  for (const value of ['one', 'two, three', '', 'four']) sent.add('X-Text', value);
  for (const value of BYTES) sent.add('x-some-bin', Buffer.from(value));
  const { reply, headers, trailers } = await mirrored(await startServer(), sent);
  expect(reply.text).toBe('x-text,x-some-bin,mode');
  for (const back of [headers, trailers]) {
    // Node's HTTP/2 hands several fields of a name on as one.
    expect(back.get('x-text').join(', ')).toBe('one, two, three, , four');
    expect(back.get('x-some-bin').map((value) => [...(value as Buffer)])).toEqual(
      BYTES.map((value) => [...value]),
    );
  }
  expect(trailers.get('grpc-retry-pushback-ms')).toEqual(['-1']);
});

test('between our two sides every value keeps its place', async () => {
  const client = ourClient((await startServer()).port);
  const sent = new Metadata()
    .append('mode', 'mirror')
    .append('x-b', '1')
    .append('x-a-bin', BYTES[1]!)
    .append('x-b', ' 2, 3 ')
    .append('x-empty', '')
    .append('x-a-bin', BYTES[0]!)
    .append('x-a-bin', BYTES[2]!);
  const call = client.say({}, { metadata: sent });
  expect((await call).text).toBe('mode,x-b,x-a-bin,x-empty');
  const expected = [...sent].filter(([name]) => name.startsWith('x-'));
  expect([...(await call.headers)]).toEqual(expected);
  const trailers = await call.trailers;
  expect(trailers.get('grpc-retry-pushback-ms')).toBe('-1');
  trailers.delete('grpc-retry-pushback-ms');
  expect([...trailers]).toEqual(expected);
});

test('bytes that somebody on the way has joined with commas come apart again', async () => {
  const server = await startServer();
  const session = connectHttp2(`http://127.0.0.1:${server.port}`);
  onTestFinished(() => session.destroy());
  const stream = session.request({
    ':method': 'POST',
    ':path': SAY,
    'content-type': 'application/grpc',
    te: 'trailers',
    mode: 'mirror',
    // With and without padding, with spaces, and an empty value.
    'x-some-bin': 'AP8, AP8sAA==,,q6s=',
  });
  stream.end(frame(Buffer.alloc(0)));
  const headers = await new Promise<IncomingHttpHeaders>((resolve) => {
    stream.once('response', resolve);
  });
  stream.resume();
  expect(headers['x-some-bin']).toBe('AP8, AP8sAA, , q6s');
});

test('bytes that a server has joined with commas come apart again', async () => {
  const joined = { 'x-some-bin': 'AQ==,AgM ,, BA' };
  const port = await startHttp2((stream) => {
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', ...joined },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', ...joined }));
    stream.end(frame(Buffer.alloc(0)));
  });
  const call = ourClient(port).say({});
  await call;
  const parts = [[1], [2, 3], [], [4]].map((part) => new Uint8Array(part));
  expect((await call.headers).getAll('x-some-bin')).toEqual(parts);
  expect((await call.trailers).getAll('x-some-bin')).toEqual(parts);
});

test.each<[string, MetadataInit, string]>([
  ['a name that HTTP keeps', { 'Content-Length': '1' }, '"content-length"'],
  ['a name that gRPC keeps', { 'grpc-encoding': 'x' }, '"grpc-encoding"'],
  ['an illegal name', { 'x y': '1' }, '"x y"'],
  ['an illegal value', { 'x-name': 'größer' }, '"x-name"'],
])('%s fails the call, with method, target and name', async (_what, metadata, name) => {
  const { port } = await startForeign(honest);
  const client = ourClient(port);
  const error = await statusOf(client.say({}, { metadata }));
  expect(error.code).toBe(Status.INTERNAL);
  expect(error.message).toContain(`${SAY} at 127.0.0.1:${port}: `);
  expect(error.message).toContain(name);
  expect(error.cause).toMatchObject({ code: 'MILLRACE_METADATA_INVALID' });
  // Nothing of it was sent, and the connection is as good as before.
  expect((await client.say({ text: 'well' })).text).toBe('well');
});

test('what a handler adds to the metadata of a call is not there in the next', async () => {
  const client = ourClient((await startServer()).port);
  for (let count = 0; count < 3; count++) {
    expect((await client.say({ text: 'add metadata' })).text).toBe('0');
  }
});
