// Compression: in both directions, as clients ask for it, and never a way around a limit.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { deflateSync, gunzipSync, gzipSync, inflateSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import {
  assertEchoed,
  chat,
  clientOf,
  collect,
  echoClient,
  expand,
  failure,
  grpc,
  say,
} from '../support/echo-client.js';
import { decodeEcho, encodeEcho, frame } from '../support/echo-wire.js';
import { RawPeer } from '../support/raw-peer.js';
import { type StartOptions, startServer, type TestServer } from '../support/server.js';
import { total } from '../support/stats.js';

const GZIP = { 'grpc.default_compression_algorithm': 2 };
const DEFLATE = { 'grpc.default_compression_algorithm': 1 };
const SAY = '/millrace.echo.v1.Echo/Say';

const peers = new Set<RawPeer>();

async function rawPeer(server: TestServer): Promise<RawPeer> {
  const peer = await RawPeer.connect(server.port);
  peers.add(peer);
  return peer;
}

afterEach(closePeers);

async function closePeers(): Promise<void> {
  await Promise.all([...peers].map((peer) => peer.close()));
  peers.clear();
}

/** One request to Say, as given. */
async function rawSay(server: TestServer, body: Buffer, fields: [string, string][], mode?: string) {
  const peer = await rawPeer(server);
  const stream = peer.request({ path: SAY, fields, ...(mode === undefined ? {} : { mode }) });
  await stream.send(body, true);
  return { end: await stream.end, stream };
}

/** A server, and that nothing is left in it when the test is over. */
async function withServer(
  work: (server: TestServer) => Promise<void>,
  options?: StartOptions,
): Promise<void> {
  const server = await startServer(options);
  const start = await server.stats();
  await work(server);
  await closePeers();
  await server.backAt(start);
}

describe.each([
  ['gzip', GZIP],
  ['deflate', DEFLATE],
])('grpc-js with %s', (_, algorithm) => {
  test('all kinds, replies compressed too', () =>
    withServer(
      async (server) => {
        const client = echoClient(server.port, algorithm);
        const message = { text: 'text', data: Buffer.alloc(50_000, 'compressible') };
        const large = { text: 'large', data: Buffer.alloc(3_000_000, 'compressible') };
        assertEchoed([await say(client, message), await say(client, large)], [message, large]);
        expect((await say(client, message, { mode: 'compression' })).text).toBe('true');
        expect(await collect(client, [message, {}, message])).toEqual({
          count: '3',
          bytes: '100000',
        });
        expect(await expand(client, { count: 3, ...message })).toHaveLength(3);
        const messages = Array.from({ length: 50 }, () => message);
        assertEchoed(await chat(client, 'chat', [...messages, large]), [...messages, large]);
        assertEchoed(await chat(client, 'chatFast', [...messages, large]), [...messages, large]);
        const stats = await server.stats();
        expect(total(stats, 'messagesDecompressed')).toBeGreaterThan(100);
        expect(total(stats, 'messagesCompressed')).toBeGreaterThan(100);
        expect(total(stats, 'compressedBytesReceived')).toBeLessThan(
          total(stats, 'decompressedBytesReceived') / 10,
        );
        client.close();
      },
      { serve: { compression: 'gzip' } },
    ));
});

test("Debian's gRPC for Python compresses and takes compressed replies", async (context) => {
  const python = '/usr/bin/python3';
  if (spawnSync(python, ['-c', 'import grpc']).status !== 0) {
    console.warn('SKIPPED: compression against gRPC for Python: install python3-grpcio');
    return context.skip('python3-grpcio is not installed');
  }
  const server = await startServer({ serve: { compression: 'gzip' } });
  const { spawn } = await import('node:child_process');
  const script = fileURLToPath(new URL('../support/compression.py', import.meta.url));
  const child = spawn(python, [script, String(server.port)]);
  let output = '';
  child.stdout.on('data', (text) => {
    output += text;
  });
  child.stderr.on('data', (text) => {
    output += text;
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect({ code, output }).toEqual({ code: 0, output: 'gzip 200000\ndeflate 200000\n' });
  const stats = await server.stats();
  expect(total(stats, 'messagesDecompressed')).toBe(40);
  expect(total(stats, 'messagesCompressed')).toBe(40);
});

describe('what is negotiated', () => {
  const request = frame(encodeEcho({ text: 'x' }));

  test('a client that names no encoding gets none', () =>
    withServer(
      async (server) => {
        const { end, stream } = await rawSay(server, request, [], 'compression');
        expect(end.code).toBe(0);
        expect(stream.headers?.map(([name]) => name)).not.toContain('grpc-encoding');
        expect(decodeEcho(stream.messages[0]!).data).toHaveLength(10_000);
        expect(total(await server.stats(), 'messagesCompressed')).toBe(0);
      },
      { serve: { compression: 'gzip' } },
    ));

  test.each([
    ['gzip', gunzipSync],
    ['deflate', inflateSync],
  ] as const)('a handler may choose %s', (encoding, unpack) =>
    withServer(async (server) => {
      const accepts: [string, string][] = [['grpc-accept-encoding', `br, ${encoding}`]];
      const { stream } = await rawSay(server, request, accepts, `encoding:${encoding}`);
      expect(stream.headers).toContainEqual(['grpc-encoding', encoding]);
      expect(decodeEcho(unpack(stream.messages[0]!)).data).toHaveLength(10_000);
      const other = encoding === 'gzip' ? 'deflate' : 'gzip';
      const plain = await rawSay(server, request, accepts, `encoding:${other}`);
      expect(plain.end.code).toBe(0);
      expect(plain.stream.headers?.map(([name]) => name)).not.toContain('grpc-encoding');
      expect(decodeEcho(plain.stream.messages[0]!).data).toHaveLength(10_000);
    }),
  );

  test('an unknown encoding is UNIMPLEMENTED, and the answer lists the known ones', () =>
    withServer(async (server) => {
      const { end, stream } = await rawSay(server, request, [['grpc-encoding', 'snappy']]);
      expect(end.code).toBe(grpc.status.UNIMPLEMENTED);
      expect([...(stream.headers ?? []), ...(stream.trailers ?? [])]).toContainEqual([
        'grpc-accept-encoding',
        'identity,deflate,gzip',
      ]);
    }));

  test('each message of a stream says for itself whether it is compressed', () =>
    withServer(async (server) => {
      const data = Buffer.alloc(5000, 'data');
      const peer = await rawPeer(server);
      const stream = peer.request({
        mode: 'compression',
        fields: [
          ['grpc-encoding', 'gzip'],
          ['grpc-accept-encoding', 'gzip'],
        ],
      });
      for (const text of ['a', 'b']) {
        await stream.send(frame(gzipSync(encodeEcho({ text, data })), 1));
        await stream.send(frame(encodeEcho({ text, data })), text === 'b');
      }
      await stream.end;
      expect(stream.messages.map((message) => message.length < 1000)).toEqual([
        true,
        false,
        true,
        false,
      ]);
      const replies = stream.messages.map((message) =>
        decodeEcho(message.length < 1000 ? gunzipSync(message) : message),
      );
      expect(replies.map(({ text }) => text)).toEqual(['true', 'false', 'true', 'false']);
    }));
});

describe('what is wrong', () => {
  test('a bomb is RESOURCE_EXHAUSTED, and costs no memory', () =>
    withServer(async (server) => {
      await server.memory();
      const before = server.residentBytes();
      const bomb = gzipSync(Buffer.alloc(512 * 1024 * 1024));
      const { end } = await rawSay(server, frame(bomb, 1), [['grpc-encoding', 'gzip']]);
      expect(end.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
      expect(server.residentBytes() - before).toBeLessThan(64 * 1024 * 1024);
      expect(total(await server.stats(), 'decompressionsRefused')).toBe(1);
    }));

  test('the limit is that of the message, to the byte', () =>
    withServer(
      async (server) => {
        const message = encodeEcho({ data: Buffer.alloc(995) });
        expect(message).toHaveLength(998);
        for (const pack of [gzipSync, deflateSync]) {
          const fields: [string, string][] = [
            ['grpc-encoding', pack === gzipSync ? 'gzip' : 'deflate'],
          ];
          const fits = await rawSay(server, frame(pack(message), 1), fields);
          expect(fits.end.code).toBe(0);
          const over = encodeEcho({ data: Buffer.alloc(996) });
          const refused = await rawSay(server, frame(pack(over), 1), fields);
          expect(refused.end.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
        }
      },
      { limits: { receiveMessageBytes: 998 } },
    ));

  const good = gzipSync(encodeEcho({ data: Buffer.alloc(1000, 'x') }));
  test.each([
    ['no stream of the encoding', Buffer.from('not gzip at all')],
    ['a stream that is cut', good.subarray(0, -1)],
    ['a wrong checksum', Buffer.concat([good.subarray(0, -8), Buffer.alloc(8)])],
    ['bytes behind the stream', Buffer.concat([good, Buffer.from('more')])],
    ['nothing', Buffer.alloc(0)],
  ])('%s is INTERNAL', (_, body) =>
    withServer(async (server) => {
      const { end } = await rawSay(server, frame(body, 1), [['grpc-encoding', 'gzip']]);
      expect(end.code).toBe(grpc.status.INTERNAL);
      expect(end.message).toMatch(/compressed message/);
    }),
  );

  test('a compressed message without an encoding is INTERNAL', () =>
    withServer(async (server) => {
      for (const fields of [[], [['grpc-encoding', 'identity'] as [string, string]]]) {
        const { end } = await rawSay(server, frame(good, 1), fields);
        expect(end.code).toBe(grpc.status.INTERNAL);
      }
    }));
});

describe('memory', () => {
  test('a stream that nobody reads holds little, however small its messages are on the wire', () =>
    withServer(async (server) => {
      const peer = await rawPeer(server);
      const fields: [string, string][] = [['grpc-encoding', 'gzip']];
      const stream = peer.request({ mode: 'gate', fields });
      const packed = frame(gzipSync(encodeEcho({ data: Buffer.alloc(50_000) })), 1);
      expect(packed.length).toBeLessThan(200);
      const count = 300;
      await stream.send(Buffer.concat(Array.from({ length: count }, () => packed)), true);
      await peer.ping();
      expect(total(await server.stats(), 'overflowBytes')).toBeLessThan(512 * 1024);
      await server.release();
      await stream.end;
      expect(stream.messages.map((message) => decodeEcho(message).data.length)).toEqual(
        Array.from({ length: count }, () => 50_000),
      );
    }));

  test('large messages of many streams take turns within the budget', () =>
    withServer(
      async (server) => {
        const client = clientOf(server, GZIP);
        const data = Buffer.alloc(4_000_000, 'compressible');
        const replies = await Promise.all(
          Array.from({ length: 40 }, () => say(client, { data }, { mode: 'length' })),
        );
        expect(new Set(replies.map(({ text }) => text))).toEqual(new Set(['4000000']));
        client.close();
        expect(total(await server.stats(), 'bufferedBytesHighest')).toBeLessThanOrEqual(
          16 * 1024 * 1024,
        );
      },
      { limits: { bufferedBytesMax: 16 * 1024 * 1024 } },
    ));

  test('messages cut at any place are the same', () =>
    withServer(async (server) => {
      const message = encodeEcho({ text: 'cut', data: Buffer.alloc(3000, 'cut anywhere') });
      const bytes = Buffer.concat([frame(gzipSync(message), 1), frame(message)]);
      const peer = await rawPeer(server);
      for (let cut = 1; cut < bytes.length; cut += cut < 150 ? 7 : 331) {
        const stream = peer.request({ fields: [['grpc-encoding', 'gzip']] });
        stream.sendData(bytes.subarray(0, cut));
        await peer.ping();
        stream.sendData(bytes.subarray(cut), true);
        await stream.end;
        expect(stream.messages.map((reply) => decodeEcho(reply).data.length)).toEqual([3000, 3000]);
      }
    }));
});

test('a failed call is failed compressed or not', async () => {
  const server = await startServer({ serve: { compression: 'gzip' } });
  const client = clientOf(server, GZIP);
  const error = await failure(say(client, { text: 'x' }, { mode: 'status:5' }));
  expect(error.code).toBe(grpc.status.NOT_FOUND);
});
