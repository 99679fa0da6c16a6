// What the other side says about header lists (SETTINGS_MAX_HEADER_LIST_SIZE) is kept to.

import { expect, onTestFinished, test } from 'vitest';
import { ourClient, statusOf } from '../support/our-client.js';
import { RawPeer } from '../support/raw-peer.js';
import { startServer, type TestServer } from '../support/server.js';
import { http2Total, total } from '../support/stats.js';

const MAX_HEADER_LIST_SIZE = 6;
const NOT_FOUND = 5;
const RESOURCE_EXHAUSTED = 8;
const SAY = '/millrace.echo.v1.Echo/Say';

test('our client does not send what the server does not take', async () => {
  const server = await startServer({ limits: { headerListBytes: 1000 } });
  const client = ourClient(server.port);
  // Before the first call the client has not heard of the limit: it waits for SETTINGS.
  const error = await statusOf(client.say({}, { metadata: { 'x-large': 'v'.repeat(1000) } }));
  expect(error.code).toBe(RESOURCE_EXHAUSTED);
  expect(error.message).toMatch(
    /\/millrace\.echo\.v1\.Echo\/Say at 127\.0\.0\.1:\d+: the request's metadata makes a header list of 1\d\d\d bytes, and 127\.0\.0\.1:\d+ takes at most 1000/,
  );
  const fine = { metadata: { 'x-large': 'v'.repeat(500) } };
  expect((await client.say({ text: 'x' }, fine)).text).toBe('x');
  const stats = await server.stats();
  expect(total(stats, 'connectionsAccepted')).toBe(1);
  expect(http2Total(stats, 'streamsOpened')).toBe(1);
  expect(http2Total(stats, 'headerListsOverSoft')).toBe(0);
});

async function peerOf({ port }: TestServer, limit: number): Promise<RawPeer> {
  const peer = await RawPeer.connect(port, { settings: [[MAX_HEADER_LIST_SIZE, limit]] });
  onTestFinished(() => peer.close());
  return peer;
}

test('response metadata that the client does not take ends the call', async () => {
  const server = await startServer();
  const peer = await peerOf(server, 600);
  const echo = (bytes: number) => {
    const fields = [['x-echo', 'v'.repeat(bytes)]] as const;
    const stream = peer.request({ path: SAY, mode: 'metadata', fields });
    stream.sendData(Buffer.alloc(5), true);
    return stream;
  };
  const large = echo(600);
  const end = await large.end;
  expect(end.code).toBe(RESOURCE_EXHAUSTED);
  expect(end.message).toContain('takes at most 600 (SETTINGS_MAX_HEADER_LIST_SIZE)');
  expect(large.headers).toBe(large.trailers);
  const small = echo(10);
  expect((await small.end).code).toBe(0);
  expect(small.headers).toContainEqual(['x-echo', 'v'.repeat(10)]);
  const line = await server.logMatching(/metadata_too_large/);
  expect(line.msg).toContain('the response metadata makes a header list of 7');
  expect(total(await server.stats(), 'callsFailed')).toBe(1);
});

test('a failure whose trailers do not fit stays that failure', async () => {
  const server = await startServer();
  for (const [limit, trailers] of [
    [400, true],
    [280, false],
  ] as const) {
    const peer = await peerOf(server, limit);
    const stream = peer.request({ path: SAY, mode: `status:${NOT_FOUND}` });
    stream.sendData(Buffer.alloc(5), true);
    expect(await stream.end).toMatchObject({ code: NOT_FOUND, message: 'größer – 100 %\n' });
    expect(stream.trailers?.some(([name]) => name === 'x-trailer')).toBe(trailers);
  }
  await server.logMatching(/metadata_too_large/);
});
