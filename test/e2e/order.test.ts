// Promise 2: order. Random messages come back byte by byte as they were sent, with everything small
// that can be small: the receive ring, the socket buffers, the DATA frames.

import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { type EchoMessage, type EchoReply, echoClient, openChat } from '../support/echo-client.js';
import { decodeEcho, echoFrame } from '../support/echo-wire.js';
import { patience } from '../support/patience.js';
import { Flag, FrameType, RawPeer, rawFrame } from '../support/raw-peer.js';
import { startRelay } from '../support/relay.js';
import { type Random, random, seedForTest } from '../support/seed.js';
import { startServer, type TestServer } from '../support/server.js';
import { total } from '../support/stats.js';

const STREAMS = 100;
const MESSAGE_BYTES_MAX = 1024 * 1024;

/** Random bytes that are unlike those of any other offset of any other message. */
function bytes(length: number, choose: Random): Buffer {
  const data = Buffer.allocUnsafe(length);
  for (let offset = 0; offset + 4 <= length; offset += 4) {
    data.writeUInt32LE((choose() * 2 ** 32) >>> 0, offset);
  }
  for (let offset = length & ~3; offset < length; offset++) data[offset] = choose.between(0, 255);
  return data;
}

function messages(choose: Random): EchoMessage[] {
  return Array.from({ length: choose.between(1, 5) }, () => {
    // Most are small; every size from nothing to 1 MiB has its chance.
    const limit = choose.pick([0, 1, 100, 5000, 16_384, 70_000, MESSAGE_BYTES_MAX]);
    return { text: `${choose.between(0, 1e9)}`, data: bytes(choose.between(0, limit), choose) };
  });
}

function digest(replies: readonly EchoMessage[]): string {
  const hash = createHash('sha256');
  for (const { text, data } of replies) hash.update(`${text} ${data?.length} `).update(data!);
  return hash.digest('hex');
}

/** Echoes the messages of all streams at the same time and compares what comes back. */
async function echoAll(ports: readonly number[], choose: Random): Promise<void> {
  const clients = ports.map((port) =>
    echoClient(port, { 'grpc-node.flow_control_window': choose.pick([65_535, 1_000_000]) }),
  );
  try {
    await Promise.all(
      Array.from({ length: STREAMS }, async (_, index) => {
        const sent = messages(choose);
        const client = clients[index % clients.length]!;
        const call = openChat(client, choose.pick(['chat', 'chatFast']));
        for (const message of sent) call.write(message);
        call.end();
        const received: EchoReply[] = [];
        for await (const reply of call) received.push(reply as EchoReply);
        expect(received.length).toBe(sent.length);
        expect(digest(received)).toBe(digest(sent));
      }),
    );
  } finally {
    for (const client of clients) client.close();
  }
}

/** The driver `classic` receives one buffer at a time of each, so it takes more to empty the ring. */
const CONNECTIONS = process.env['MILLRACE_DRIVER'] === 'classic' ? 32 : 4;

async function smallServer(): Promise<TestServer> {
  return startServer({ limits: { ringBuffers: 16 }, logLevel: 'warn' });
}

test('100 streams echo messages of 0 B to 1 MiB through a ring of 16 buffers', {
  timeout: patience(120_000),
}, async () => {
  const server = await smallServer();
  const start = await server.stats();
  const relay = await startRelay(server.port);
  const seed = seedForTest();
  await fc.assert(
    fc.asyncProperty(fc.integer(), async (value) => {
      // Half of the connections see tiny socket buffers, half are as fast as they can be.
      const ports = Array.from({ length: CONNECTIONS }, (_, at) => [relay, server.port][at % 2]!);
      await echoAll(ports, random(value));
    }),
    { seed, numRuns: 8, endOnFailure: true },
  );
  const stats = await server.stats();
  expect(total(stats, 'ringLowestFree')).toBeLessThan(4);
  await server.backAt(start);
});

test('frames of every small size, cut and padded, arrive as one stream of messages', async () => {
  const server = await smallServer();
  const choose = random(seedForTest());
  const peer = await RawPeer.connect(server.port);
  onTestFinished(() => peer.close());
  const stream = peer.request({});
  const sent = Array.from({ length: 40 }, (_, index) => ({
    text: `message ${index}`,
    data: bytes(choose.between(0, 300), choose),
  }));
  const wire = Buffer.concat(sent.map((message) => echoFrame(message)));
  let offset = 0;
  while (offset < wire.length) {
    const piece = wire.subarray(offset, offset + choose.between(0, 40));
    offset += piece.length;
    const padding = choose.between(0, 3) === 0 ? choose.between(0, 20) : undefined;
    const payload =
      padding === undefined
        ? piece
        : Buffer.concat([Buffer.from([padding]), piece, Buffer.alloc(padding)]);
    const flags = padding === undefined ? 0 : Flag.PADDED;
    const frame = rawFrame(FrameType.DATA, flags, stream.id, payload);
    // Cut the frame itself now and then, its head included.
    if (choose.between(0, 4) === 0) await peer.writeCut(frame, choose.between(0, frame.length));
    else peer.write(frame);
  }
  stream.sendData(Buffer.alloc(0), true);
  const end = await stream.end;
  expect([end.code, peer.goAway]).toEqual([0, undefined]);
  expect(stream.messages.map(decodeEcho)).toEqual(sent);
});
