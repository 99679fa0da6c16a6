// Promise 1: any gRPC client works. Two clients that nobody here wrote call all kinds of methods.

import { once } from 'node:events';
import { connect } from 'node:http2';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  assertEchoed,
  chat,
  clientOf,
  collect,
  expand,
  failure,
  grpc,
  openChat,
  say,
} from '../support/echo-client.js';
import { decodeEcho, echoFrame } from '../support/echo-wire.js';
import { startEcho, startServer } from '../support/server.js';

describe('the example service, called by grpc-js', () => {
  test('all four kinds and the callback form', async () => {
    const { port, driver } = await startEcho();
    expect(driver).toBe(process.env['MILLRACE_DRIVER']);
    const client = clientOf({ port });
    const data = Buffer.from([0, 1, 254, 255]);

    expect(await say(client, { text: 'ä€😀', data })).toEqual({ text: 'ä€😀', data });
    expect(await collect(client, [{ data }, {}, { text: 'x', data }])).toEqual({
      count: '3',
      bytes: '8',
    });
    expect(await expand(client, { count: 3, text: 'e', data })).toEqual([
      { text: 'e', data },
      { text: 'e', data },
      { text: 'e', data },
    ]);
    const messages = Array.from({ length: 100 }, (_, index) => ({ text: `${index}`, data }));
    assertEchoed(await chat(client, 'chat', messages), messages);
    assertEchoed(await chat(client, 'chatFast', messages), messages);
  });

  test('no messages, empty messages, and large ones', async () => {
    const { port } = await startEcho();
    const client = clientOf({ port });
    const empty = { text: '', data: Buffer.alloc(0) };

    expect(await say(client, {})).toEqual(empty);
    expect(await collect(client, [])).toEqual({ count: '0', bytes: '0' });
    expect(await expand(client, { count: 0 })).toEqual([]);
    expect(await chat(client, 'chat', [])).toEqual([]);
    expect(await chat(client, 'chatFast', [])).toEqual([]);
    expect(await chat(client, 'chat', [{}, {}])).toEqual([empty, empty]);

    const large = { text: 'x'.repeat(1000), data: Buffer.alloc(4_000_000, 'large') };
    assertEchoed([await say(client, large)], [large]);
    assertEchoed(await chat(client, 'chat', [large, large]), [large, large]);
    assertEchoed(await chat(client, 'chatFast', [large, large]), [large, large]);
  });

  test('a reply comes before the client has ended: the stream is bidirectional', async () => {
    const { port } = await startEcho();
    const client = clientOf({ port });
    for (const method of ['chat', 'chatFast'] as const) {
      const call = openChat(client, method);
      for (const text of ['one', 'two', 'three']) {
        call.write({ text });
        const [reply] = await once(call, 'data');
        expect(reply.text).toBe(text);
      }
      const ended = once(call, 'status');
      call.end();
      expect((await ended)[0].code).toBe(grpc.status.OK);
    }
  });

  test('many calls at once on one connection, and on many', async () => {
    const { port } = await startEcho();
    const clients = Array.from({ length: 20 }, () => clientOf({ port }));
    const texts = Array.from({ length: 1000 }, (_, index) => `call ${index}`);
    const replies = await Promise.all(
      texts.map((text, index) => say(clients[index % clients.length]!, { text })),
    );
    expect(replies.map(({ text }) => text)).toEqual(texts);
  });
});

describe('what a call carries beside messages', () => {
  test('metadata both ways, binary too, and trailers', async () => {
    const server = await startServer();
    const client = clientOf(server);
    const binary = Buffer.from([0, 127, 128, 255]);
    const metadata = new grpc.Metadata();
    metadata.set('mode', 'metadata');
    metadata.set('x-echo', 'plain text');
    metadata.set('x-echo-bin', binary);
    const call = client.say({}, metadata, {}, () => {});
    const [[headers], [status]] = (await Promise.all([
      once(call, 'metadata'),
      once(call, 'status'),
    ])) as [[grpc.Metadata], [grpc.StatusObject]];
    expect(headers.get('x-echo')).toEqual(['plain text']);
    expect(headers.get('x-echo-bin')).toEqual([binary]);
    expect(status.code).toBe(grpc.status.OK);
    expect(status.metadata.get('x-peer')[0]).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  test('a status with message, metadata and trailers, from each kind', async () => {
    const server = await startServer();
    const client = clientOf(server);
    const mode = { mode: 'status:9' };
    const errors = await Promise.all([
      failure(say(client, {}, mode)),
      failure(collect(client, [{}], mode)),
      failure(expand(client, { count: 1 }, mode)),
      failure(chat(client, 'chat', [], mode)),
    ]);
    for (const error of errors) {
      expect(error.code).toBe(grpc.status.FAILED_PRECONDITION);
      expect(error.details).toBe('größer – 100 %\n');
      expect(error.metadata.get('x-trailer')).toEqual(['set']);
      expect(error.metadata.get('x-trailer-bin')).toEqual([Buffer.from([0, 255, 171])]);
    }
  });
});

test("Node's own HTTP/2 client, with frames and framing of its own", async () => {
  const { port } = await startEcho();
  const session = connect(`http://127.0.0.1:${port}`);
  onTestFinished(() => session.close());
  const request = session.request({
    ':method': 'POST',
    ':path': '/millrace.echo.v1.Echo/Say',
    'content-type': 'application/grpc+proto',
    te: 'trailers',
  });
  const trailers = once(request, 'trailers');
  const response = once(request, 'response');
  const received: Buffer[] = [];
  request.on('data', (chunk: Buffer) => received.push(chunk));
  const message = echoFrame({ text: 'by hand', data: Buffer.alloc(100_000, 7) });
  // The prefix in a frame of its own, and the rest behind it.
  request.write(message.subarray(0, 3));
  request.end(message.subarray(3));
  expect((await response)[0]).toMatchObject({
    ':status': 200,
    'content-type': /application\/grpc/,
  });
  expect((await trailers)[0]).toMatchObject({ 'grpc-status': '0' });
  const reply = Buffer.concat(received);
  expect(reply.readUInt32BE(1)).toBe(reply.length - 5);
  assertEchoed(
    [decodeEcho(reply.subarray(5))],
    [{ text: 'by hand', data: Buffer.alloc(100_000, 7) }],
  );
});
