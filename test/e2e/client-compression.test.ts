// Our client compresses requests and takes compressed responses; none of them is a way around a limit.

import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { deflateSync, gunzipSync, gzipSync, inflateSync } from 'node:zlib';
import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import { type ClientInterceptor, connect, type Encoding, Status } from 'millrace';
import { describe, expect, test } from 'vitest';
import { encodeEcho, frame } from '../support/echo-wire.js';
import { eventually } from '../support/eventually.js';
import { honest, startForeign } from '../support/foreign-server.js';
import { startHttp2 } from '../support/http2-server.js';
import { all, ourClient, ourConnection, statusOf } from '../support/our-client.js';
import { residentBytes } from '../support/probes.js';
import { startServer } from '../support/server.js';
import { total } from '../support/stats.js';

const MIB = 1024 * 1024;
const compressible = (bytes: number) => new Uint8Array(bytes).fill(99);
const data = compressible(50_000);

/** What a server by hand saw of a call. */
interface Seen {
  readonly headers: IncomingHttpHeaders;
  /** The flag and the bytes of each message. */
  readonly messages: { readonly packed: boolean; readonly bytes: Buffer }[];
}

/** A server that answers a call as the test wants, once its request is complete. */
async function startByHand(
  answer: (stream: ServerHttp2Stream, seen: Seen, number: number) => void,
): Promise<{ port: number; calls: Seen[] }> {
  const calls: Seen[] = [];
  const port = await startHttp2((stream, headers) => {
    const seen: Seen = { headers, messages: [] };
    calls.push(seen);
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      for (let rest = Buffer.concat(chunks); rest.length > 0; ) {
        const end = 5 + rest.readUInt32BE(1);
        seen.messages.push({ packed: rest[0] === 1, bytes: rest.subarray(5, end) });
        rest = rest.subarray(end);
      }
      answer(stream, seen, calls.length);
    });
  });
  return { port, calls };
}

/** A response of these bytes and status OK. */
function respond(stream: ServerHttp2Stream, body: Buffer, fields: Record<string, string> = {}) {
  stream.respond(
    { ':status': 200, 'content-type': 'application/grpc', ...fields },
    { waitForTrailers: true },
  );
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(body);
}

const unpackers = { gzip: gunzipSync, deflate: inflateSync };
const packers = { gzip: gzipSync, deflate: deflateSync };

describe.each(['gzip', 'deflate'] as const)('%s', (compression) => {
  test('all kinds against our server, both ways', async () => {
    const server = await startServer({ serve: { compression } });
    const { client, connection } = ourConnection(server.port, { compression });
    const call = client.say({ text: 'a', data });
    expect((await call).data).toEqual(data);
    expect(call.compression).toMatchObject({ received: true, encoding: compression });
    const large = compressible(3_000_000);
    expect((await client.say({ data: large })).data).toHaveLength(large.length);
    expect(await client.collect(Array.from({ length: 20 }, () => ({ data })))).toMatchObject({
      bytes: 1_000_000n,
    });
    const responses = client.expand({ count: 3, data });
    for await (const response of responses) {
      expect(response.data).toEqual(data);
      expect(responses.compression.received).toBe(true);
    }
    for (const chat of [client.chat.bind(client), client.chatFast.bind(client)]) {
      const replies = await all(chat([{ data }, { data: large }, { data }]));
      expect(replies.map((reply) => reply.data.length)).toEqual([50_000, 3_000_000, 50_000]);
    }
    const stats = await server.stats();
    // The replies to `collect` are too small to be worth it.
    expect(total(stats, 'messagesDecompressed')).toBe(29);
    expect(total(stats, 'messagesCompressed')).toBe(11);
    expect(total(stats, 'compressedBytesReceived')).toBeLessThan(
      total(stats, 'decompressedBytesReceived') / 10,
    );
    const { engine } = connection.stats();
    expect(engine).toMatchObject({ messagesDecompressed: 11, messagesCompressed: 29 });
  });

  test('all kinds against the server of grpc-js, which does not compress', async () => {
    const { port } = await startForeign(honest);
    const { client, connection } = ourConnection(port, { compression });
    const call = client.say({ text: 'a', data });
    expect((await call).data).toEqual(data);
    expect(call.compression.received).toBe(false);
    expect(await client.collect([{ data }, { data }])).toMatchObject({ bytes: 100_000n });
    expect(await all(client.expand({ count: 2, text: 'b'.repeat(100) }))).toHaveLength(2);
    expect(await all(client.chat([{ data }, { data }]))).toHaveLength(2);
    expect(connection.stats().engine).toMatchObject({ messagesCompressed: 6 });
  });

  test('what is on the wire', async () => {
    const { port, calls } = await startByHand((stream) =>
      respond(stream, frame(packers[compression](encodeEcho({ text: 'packed' })), 1), {
        'grpc-encoding': compression,
      }),
    );
    const client = ourClient(port, { compression });
    const call = client.say({ data });
    expect((await call).text).toBe('packed');
    expect(call.compression.received).toBe(true);
    expect(calls[0]?.headers).toMatchObject({
      'grpc-encoding': compression,
      'grpc-accept-encoding': 'identity,deflate,gzip',
    });
    expect(calls[0]?.messages[0]?.packed).toBe(true);
    const bytes = unpackers[compression](calls[0]!.messages[0]!.bytes);
    expect(bytes).toEqual(encodeEcho({ data: Buffer.from(data) }));
  });
});

test('nothing is compressed unless it is asked for, and compressed responses are taken all the same', async () => {
  const { port, calls } = await startByHand((stream) =>
    respond(stream, frame(gzipSync(encodeEcho({ text: 'packed' })), 1), {
      'grpc-encoding': 'gzip',
    }),
  );
  const call = ourClient(port).say({ data });
  expect((await call).text).toBe('packed');
  expect(call.compression).toMatchObject({ received: true, encoding: 'identity' });
  expect(calls[0]?.headers).not.toHaveProperty('grpc-encoding');
  expect(calls[0]?.headers['grpc-accept-encoding']).toBe('identity,deflate,gzip');
  expect(calls[0]?.messages[0]?.packed).toBe(false);
});

test('the call goes before its client, and the client before its connection', async () => {
  const { port, calls } = await startByHand((stream) => respond(stream, frame(Buffer.alloc(0))));
  const { client, connection } = ourConnection(port, { compression: 'gzip' });
  const other = connect(Echo, connection, { compression: 'deflate' });
  await client.say({ data });
  await client.say({ data }, { compression: 'identity' });
  await other.say({ data });
  await other.say({ data }, { compression: 'gzip' });
  expect(calls.map(({ headers }) => headers['grpc-encoding'])).toEqual([
    'gzip',
    undefined,
    'deflate',
    'gzip',
  ]);
  expect(calls.map(({ messages }) => messages[0]?.packed)).toEqual([true, false, true, true]);
});

test('an encoding that is none is an error of its own, wherever it is named', () => {
  const wrong = 'br' as Encoding;
  const why = /compression is "br", but has to be identity, gzip or deflate/;
  const { client, connection } = ourConnection('localhost:1', {});
  expect(() => ourConnection('localhost:1', { compression: wrong })).toThrow(why);
  expect(() => connect(Echo, connection, { compression: wrong })).toThrow(why);
  expect(() => client.say({}, { compression: wrong })).toThrow(why);
  expect(() => client.say({}, { compression: 1 as never })).toThrow(/compression is 1/);
});

describe('single messages', () => {
  const expected = ['true', 'false', 'true', 'true', 'false'];
  const passing: ClientInterceptor = (call, next) => next(call);

  test.each([
    ['a call object', []],
    ['a call object behind an interceptor', [passing]],
  ])(
    '%s leaves them uncompressed, before and while it has a connection',
    async (_, interceptors) => {
      const { port } = await startServer();
      const client = ourClient(port, { compression: 'gzip', interceptors });
      const chat = client.chatFast(undefined, { metadata: { mode: 'compression' } });
      // The first are written before there is a connection, the others after the call is committed.
      const seen: (string | undefined)[] = [];
      for (let round = 0; round < 2; round++) {
        for (const packed of expected) {
          chat.compression.enabled = packed === 'true';
          chat.write({ data });
        }
        for (const _ of expected) seen.push((await chat.next()).value?.text);
      }
      chat.end();
      expect((await chat.next()).done).toBe(true);
      expect(seen).toEqual([...expected, ...expected]);
    },
  );

  test.each([
    ['a generator', []],
    ['a generator behind an interceptor', [passing]],
  ])('%s leaves them uncompressed', async (_, interceptors) => {
    const { port, calls } = await startByHand((stream) => respond(stream, frame(Buffer.alloc(0))));
    const client = ourClient(port, { compression: 'gzip', interceptors });
    async function* requests() {
      for (const packed of expected) {
        await Promise.resolve();
        call.compression.enabled = packed === 'true';
        yield { data };
      }
    }
    const call = client.collect(requests());
    await call;
    expect(calls[0]?.messages.map(({ packed }) => String(packed))).toEqual(expected);
  });

  test('messages larger than the arena keep their place', async () => {
    const { port, calls } = await startByHand((stream) => respond(stream, frame(Buffer.alloc(0))));
    const upload = ourClient(port, { compression: 'gzip' }).collect();
    const sizes = [3_000_000, 100, 2_000_000, 100, 3_000_000];
    for (const [index, size] of sizes.entries()) {
      upload.compression.enabled = index % 2 === 0;
      if (!upload.write({ data: compressible(size) })) await upload.writable();
    }
    upload.end();
    await upload.response;
    const [seen] = calls;
    expect(seen?.messages.map(({ packed }) => packed)).toEqual([true, false, true, false, true]);
    const lengths = seen?.messages.map(({ packed, bytes }) =>
      packed ? gunzipSync(bytes).length : bytes.length,
    );
    expect(lengths).toEqual(sizes.map((size) => encodeEcho({ data: Buffer.alloc(size) }).length));
  });
});

test('a retry is compressed as the first attempt was, message by message', async () => {
  const { port, calls } = await startByHand((stream, _, number) => {
    if (number % 2 === 0) return respond(stream, frame(Buffer.alloc(0)));
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '14' },
      { endStream: true },
    );
  });
  const client = ourClient(port, {
    compression: 'gzip',
    serviceConfig: {
      methodConfig: [
        {
          name: [{ service: 'millrace.echo.v1.Echo' }],
          retryPolicy: {
            maxAttempts: 2,
            initialBackoff: '0.01s',
            maxBackoff: '0.01s',
            backoffMultiplier: 1,
            retryableStatusCodes: ['UNAVAILABLE'],
          },
        },
      ],
    },
  });
  await client.say({ data });
  const upload = client.collect(undefined, { compression: 'deflate' });
  for (const enabled of [true, false, false, true]) {
    upload.compression.enabled = enabled;
    upload.write({ data });
  }
  upload.end();
  await upload.response;
  const shape = ({ headers, messages }: Seen) => [
    headers['grpc-encoding'],
    headers['grpc-previous-rpc-attempts'],
    ...messages.map(({ packed }) => packed),
  ];
  expect(calls.map(shape)).toEqual([
    ['gzip', undefined, true],
    ['gzip', '1', true],
    ['deflate', undefined, true, false, false, true],
    ['deflate', '1', true, false, false, true],
  ]);
});

test('hedged attempts are all compressed alike, whatever they miss of each other', async () => {
  const { port, calls } = await startByHand((stream) => {
    // Answered once all attempts have all requests, so that none is cancelled before.
    streams.push(stream);
    if (streams.length < 2) return;
    for (const each of streams) respond(each, frame(Buffer.alloc(0)));
  });
  const streams: ServerHttp2Stream[] = [];
  const client = ourClient(port, {
    serviceConfig: {
      methodConfig: [
        {
          name: [{ service: 'millrace.echo.v1.Echo' }],
          hedgingPolicy: { maxAttempts: 2, hedgingDelay: '0.05s' },
        },
      ],
    },
  });
  const upload = client.collect(undefined, { compression: 'gzip' });
  const flags = [true, false, true, false, false, true];
  for (const [index, enabled] of flags.entries()) {
    // The second attempt begins in the middle.
    if (index === 3) await eventually('both attempts have begun', () => calls.length === 2);
    upload.compression.enabled = enabled;
    upload.write({ data: compressible(1000) });
  }
  upload.end();
  await upload.response;
  expect(calls.map(({ messages }) => messages.map(({ packed }) => packed))).toEqual([flags, flags]);
});

test('each response says for itself whether it is compressed', async () => {
  const packed = frame(gzipSync(encodeEcho({ text: 'true' })), 1);
  const plain = frame(encodeEcho({ text: 'false' }));
  const { port } = await startByHand((stream) =>
    respond(stream, Buffer.concat([packed, plain, plain, packed]), { 'grpc-encoding': 'gzip' }),
  );
  const responses = ourClient(port).expand({});
  let count = 0;
  for await (const { text } of responses) {
    count++;
    expect(responses.compression.received).toBe(text === 'true');
  }
  expect(count).toBe(4);
});

describe('what is wrong', () => {
  const good = gzipSync(encodeEcho({ data: Buffer.from(data) }));
  const plain = frame(encodeEcho({ text: 'plain' }));
  const bomb = gzipSync(Buffer.alloc(512 * MIB));
  const cases: [string, Buffer, string | undefined, number, RegExp][] = [
    ['a bomb', bomb, 'gzip', Status.RESOURCE_EXHAUSTED, /more than the limit of 4194304 bytes/],
    ['no gzip', Buffer.from('not gzip at all'), 'gzip', Status.INTERNAL, /compressed message/],
    ['gzip that is cut', good.subarray(0, -1), 'gzip', Status.INTERNAL, /complete stream/],
    [
      'a wrong checksum',
      Buffer.concat([good.subarray(0, -8), Buffer.alloc(8)]),
      'gzip',
      Status.INTERNAL,
      /complete stream/,
    ],
    ['gzip for deflate', good, 'deflate', Status.INTERNAL, /complete stream/],
    ['nothing', Buffer.alloc(0), 'gzip', Status.INTERNAL, /complete stream/],
    ['no encoding', good, undefined, Status.INTERNAL, /grpc-encoding names no encoding/],
    ['identity', good, 'identity', Status.INTERNAL, /grpc-encoding names no encoding/],
    ['an unknown encoding', good, 'snappy', Status.INTERNAL, /by snappy.*identity,deflate,gzip/],
  ];

  test.each(cases)(
    '%s, in calls of one response and of many',
    async (_, body, encoding, code, why) => {
      const fields = encoding === undefined ? {} : { 'grpc-encoding': encoding };
      const { port } = await startByHand((stream) =>
        respond(stream, Buffer.concat([plain, frame(body, 1)]), fields),
      );
      const { client, connection } = ourConnection(port);
      const before = residentBytes(process.pid);
      const responses = client.expand({});
      // What came before it is read first.
      expect((await responses.next()).value?.text).toBe('plain');
      const late = await statusOf(responses.next());
      expect(late.code).toBe(code);
      expect(late.message).toMatch(why);
      expect(late.message).toContain(`/millrace.echo.v1.Echo/Expand at 127.0.0.1:${port}`);

      const single = await startByHand((stream) => respond(stream, frame(body, 1), fields));
      const error = await statusOf(ourClient(single.port).say({}));
      expect(error.code).toBe(code);
      expect(error.message).toMatch(why);
      expect(residentBytes(process.pid) - before).toBeLessThan(64 * MIB);
      await eventually('everything is given back', () => {
        const { overflowBytes, activeCalls } = connection.stats().engine;
        return overflowBytes === 0 && activeCalls === 0;
      });
    },
  );

  test('an unknown encoding that nothing is compressed by does no harm', async () => {
    const { port } = await startByHand((stream) =>
      respond(stream, frame(encodeEcho({ text: 'plain' })), { 'grpc-encoding': 'snappy' }),
    );
    expect((await ourClient(port).say({})).text).toBe('plain');
  });

  test('the limit is that of the message, to the byte', async () => {
    const { port } = await startByHand((stream, { messages }) =>
      respond(stream, frame(gzipSync(messages[0]!.bytes), 1), { 'grpc-encoding': 'gzip' }),
    );
    const client = ourClient(port, { limits: { receiveMessageBytes: 998 } });
    expect((await client.say({ data: new Uint8Array(995) })).data).toHaveLength(995);
    const error = await statusOf(client.say({ data: new Uint8Array(996) }));
    expect(error.code).toBe(Status.RESOURCE_EXHAUSTED);
  });

  test('a server that does not know the encoding says so itself', async () => {
    const { port } = await startByHand((stream) => {
      stream.respond(
        {
          ':status': 200,
          'content-type': 'application/grpc',
          'grpc-status': '12',
          'grpc-message': 'no gzip here',
          'grpc-accept-encoding': 'identity',
        },
        { endStream: true },
      );
    });
    const error = await statusOf(ourClient(port).say({ data }, { compression: 'gzip' }));
    expect(error).toMatchObject({ code: Status.UNIMPLEMENTED, message: 'no gzip here' });
  });
});

describe('memory', () => {
  test('a stream that nobody reads holds little, however small its messages are on the wire', async () => {
    const packed = frame(gzipSync(encodeEcho({ data: Buffer.alloc(50_000) })), 1);
    expect(packed.length).toBeLessThan(200);
    const count = 300;
    const { port } = await startByHand((stream) =>
      respond(stream, Buffer.concat(Array.from({ length: count }, () => packed)), {
        'grpc-encoding': 'gzip',
      }),
    );
    const { client, connection } = ourConnection(port);
    const responses = client.expand({});
    await responses.next();
    await eventually(
      'messages wait',
      () => Number(connection.stats().engine['waitingMessages']) > 0,
    );
    expect(connection.stats().engine['overflowBytes']).toBeLessThan(512 * 1024);
    const rest = await all(responses);
    expect(rest.map((response) => response.data.length)).toEqual(
      Array.from({ length: count - 1 }, () => 50_000),
    );
    await eventually(
      'everything is given back',
      () => connection.stats().engine['overflowBytes'] === 0,
    );
  });

  test('large responses of many calls take turns within the budget', async () => {
    const server = await startServer({ serve: { compression: 'gzip' } });
    const { client, connection } = ourConnection(server.port, {
      limits: { bufferedBytesMax: 16 * MIB },
    });
    const replies = await Promise.all(
      Array.from({ length: 24 }, () => client.say({ data: compressible(4_000_000) })),
    );
    expect(new Set(replies.map((reply) => reply.data.length))).toEqual(new Set([4_000_000]));
    expect(connection.stats().engine['bufferedBytesHighest']).toBeLessThanOrEqual(16 * MIB);
  });
});
