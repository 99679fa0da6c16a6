// The raw peer against Node's HTTP/2 server: the tool has to be right before its findings count.

import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { decodeEcho, echoFrame } from './echo-wire.js';
import { RawPeer, Reset } from './raw-peer.js';

/** Sends back what it gets, behind headers that use Huffman coding and the dynamic table. */
async function echoServer(): Promise<{ port: number; requests: IncomingHttpHeaders[] }> {
  const requests: IncomingHttpHeaders[] = [];
  const server = createServer();
  server.on('stream', (stream, headers) => {
    requests.push(headers);
    stream.on('error', () => {});
    if (headers['mode'] === 'reset') return stream.close(Reset.ENHANCE_YOUR_CALM);
    stream.respond(
      {
        ':status': 200,
        'content-type': 'application/grpc',
        'x-same': 'again & again ~€'.slice(0, -1),
      },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => {
      stream.sendTrailers({ 'grpc-status': '5', 'grpc-message': 'no %25 here' });
    });
    stream.pipe(stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, requests };
}

async function peerOf(port: number, keep = true): Promise<RawPeer> {
  const peer = await RawPeer.connect(port, { keep });
  onTestFinished(() => peer.close());
  return peer;
}

test.each([true, false])('messages larger than every window come back (kept: %s)', async (keep) => {
  const { port, requests } = await echoServer();
  const peer = await peerOf(port, keep);
  const messages = [0, 1, 5000, 300_000, 7].map((length) => ({
    text: `${length}`,
    data: Buffer.alloc(length, length),
  }));
  for (let round = 0; round < 3; round++) {
    const stream = peer.request({ mode: 'echo', fields: [['content-type', 'other']] });
    for (const message of messages) await stream.send(echoFrame(message));
    await stream.send(Buffer.alloc(0), true);
    expect(await stream.end).toEqual({
      code: 5,
      message: 'no % here',
      reset: undefined,
      connectionClosed: false,
    });
    expect(stream.headers).toContainEqual(['x-same', 'again & again ~']);
    expect(stream.count).toBe(messages.length);
    if (keep) expect(stream.messages.map(decodeEcho)).toEqual(messages);
  }
  expect(requests[0]).toMatchObject({ mode: 'echo', 'content-type': 'other' });
});

test('PING, resets and the end of the connection are seen', async () => {
  const { port } = await echoServer();
  const peer = await peerOf(port);
  await peer.ping();
  const reset = peer.request({ mode: 'reset' });
  expect((await reset.end).reset).toBe(Reset.ENHANCE_YOUR_CALM);
  const open = peer.request({});
  await peer.ping();
  peer.kill();
  expect((await open.end).connectionClosed).toBe(true);
});

test('it sends no more than the windows admit', async () => {
  const { port } = await echoServer();
  const peer = await RawPeer.connect(port, { autoCredit: false });
  onTestFinished(() => peer.close());
  await peer.ping();
  const stream = peer.request({});
  expect(stream.sendAllItMay(echoFrame({ text: 'x' }))).toBe(65_535);
  await stream.receivedMessages(1);
  expect(stream.sendWindow).toBeGreaterThanOrEqual(0);
});
