// Bad input and faults: each ends in the right gRPC status or HTTP/2 error, a log line that names
// it, and stats that return to where they were.

import { connect } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  chat,
  clientOf,
  collect,
  echoClient,
  expand,
  failure,
  grpc,
  openChat,
  say,
} from '../support/echo-client.js';
import { echoFrame, frame } from '../support/echo-wire.js';
import { eventually } from '../support/eventually.js';
import { patience } from '../support/patience.js';
import {
  exchange,
  Flag,
  FrameType,
  PREFACE,
  RawPeer,
  Reset,
  rawFrame,
  word,
} from '../support/raw-peer.js';
import { type StartOptions, startServer, type TestServer } from '../support/server.js';
import { type Stats, total } from '../support/stats.js';

const SAY = '/millrace.echo.v1.Echo/Say';
const COLLECT = '/millrace.echo.v1.Echo/Collect';

/** A server, and the state that it must come back to. */
async function serverAtRest(options?: StartOptions): Promise<{ server: TestServer; start: Stats }> {
  // Every fault has its line; those that any stranger may cause at will are for debugging.
  const server = await startServer({ logLevel: 'debug', ...options });
  return { server, start: await server.stats() };
}

async function rawPeer(server: TestServer): Promise<RawPeer> {
  const peer = await RawPeer.connect(server.port);
  onTestFinished(() => peer.close());
  return peer;
}

/** The server still answers; then nothing of what went wrong is left. */
async function isWell(server: TestServer, start: Stats): Promise<void> {
  const client = echoClient(server.port);
  expect((await say(client, { text: 'well' })).text).toBe('well');
  client.close();
  await server.backAt(start);
}

describe('bytes that are not HTTP/2', () => {
  test('garbage ends the connection, and the log says so', async () => {
    const { server, start } = await serverAtRest();
    await exchange(server.port, Buffer.from('\x7f\x03garbage that goes on'));
    await server.logMatching(/127\.0\.0\.1:\d+.*HTTP\/2|HTTP\/2.*127\.0\.0\.1:\d+/i);
    await isWell(server, start);
  });

  test('an HTTP/1.1 client gets a plain answer', async () => {
    const { server, start } = await serverAtRest();
    const answer = (
      await exchange(server.port, Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'))
    ).toString();
    expect(answer).toMatch(/^HTTP\/1\.1 [45]\d\d /);
    expect(answer).toMatch(/content-type: text\/plain/i);
    expect(answer).toMatch(/gRPC over HTTP\/2/);
    await server.logMatching(/HTTP\/1/);
    await isWell(server, start);
  });

  test('a connection that ends before it says anything leaves nothing', async () => {
    const { server, start } = await serverAtRest();
    for (const part of [0, 1, 10, PREFACE.length]) {
      await exchange(server.port, PREFACE.subarray(0, part), true);
    }
    await isWell(server, start);
  });
});

describe('broken HTTP/2', () => {
  test('a truncated frame', async () => {
    const { server, start } = await serverAtRest();
    const whole = rawFrame(FrameType.SETTINGS, 0, 0, Buffer.from([0, 4, 0, 1, 0, 0]));
    for (let length = 1; length < whole.length; length++) {
      await exchange(server.port, Buffer.concat([PREFACE, whole.subarray(0, length)]), true);
    }
    await server.logMatching(/127\.0\.0\.1:\d+.*(frame|connection)/i);
    await isWell(server, start);
  });

  test.each([
    ['a frame larger than allowed', rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(16_385)), 6],
    ['DATA on a stream that is idle', rawFrame(FrameType.DATA, 0, 5, Buffer.alloc(1)), 1],
    ['SETTINGS of the wrong length', rawFrame(FrameType.SETTINGS, 0, 0, Buffer.alloc(5)), 6],
    ['a PING of the wrong length', rawFrame(FrameType.PING, 0, 0, Buffer.alloc(7)), 6],
    ['a WINDOW_UPDATE of 0', rawFrame(FrameType.WINDOW_UPDATE, 0, 0, word(0)), 1],
    ['a CONTINUATION of nothing', rawFrame(FrameType.CONTINUATION, 4, 1), 1],
    [
      'a header block that HPACK cannot read',
      rawFrame(FrameType.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 1, Buffer.from([0xff, 0xff])),
      9,
    ],
  ])('%s ends the connection with GOAWAY', async (_, bytes, reason) => {
    const { server, start } = await serverAtRest();
    const peer = await rawPeer(server);
    peer.write(bytes);
    expect((await peer.goingAway()).reason).toBe(reason);
    await peer.closed;
    await server.logMatching(/connection_error|127\.0\.0\.1:\d+/);
    expect(total(await server.stats(), 'connectionErrors')).toBe(1);
    await isWell(server, start);
  });

  test('a flood of resets is answered with ENHANCE_YOUR_CALM', async () => {
    const { server, start } = await serverAtRest();
    const peer = await rawPeer(server);
    // No further once it is cut: who goes on writing may miss why.
    for (let count = 0; count < 3000 && peer.goAway === undefined && !peer.isClosed; count++) {
      peer.request({ mode: 'never-ends' }).reset(Reset.CANCEL);
      if (count % 100 === 99) await nextTurn();
    }
    expect((await peer.goingAway()).reason).toBe(Reset.ENHANCE_YOUR_CALM);
    await peer.closed;
    await isWell(server, start);
  });
});

describe('requests that no handler sees', () => {
  test('an unknown method, an unknown service, a malformed path', async () => {
    const { server, start } = await serverAtRest();
    const peer = await rawPeer(server);
    for (const path of [
      '/millrace.echo.v1.Echo/Nothing',
      '/nothing.Service/Say',
      '/millrace.echo.v1.Echo/Say/',
      'millrace.echo.v1.Echo/Say',
      '/',
    ]) {
      const stream = peer.request({ path, endStream: true });
      const end = await stream.end;
      expect([path, end.code, end.connectionClosed]).toEqual([
        path,
        grpc.status.UNIMPLEMENTED,
        false,
      ]);
    }
    expect((await server.counters()).started).toBe(0);
    await server.logMatching(/Echo\/Nothing/);
    await peer.close();
    await isWell(server, start);
  });

  test('another content type, another HTTP method', async () => {
    const { server, start } = await serverAtRest();
    const peer = await rawPeer(server);
    const html = peer.request({
      path: SAY,
      fields: [['content-type', 'text/html']],
      endStream: true,
    });
    await html.end;
    expect(html.headers?.[0]).toEqual([':status', '415']);
    const get = peer.request({ path: SAY, fields: [[':method', 'GET']], endStream: true });
    await get.end;
    expect(get.headers?.[0]).toEqual([':status', '405']);
    await peer.close();
    await isWell(server, start);
  });

  test('an encoding that the server does not have', async () => {
    const { server, start } = await serverAtRest();
    const peer = await rawPeer(server);
    const stream = peer.request({ path: SAY, fields: [['grpc-encoding', 'snappy']] });
    expect((await stream.end).code).toBe(grpc.status.UNIMPLEMENTED);
    expect(stream.headers?.map(([name]) => name)).toContain('grpc-accept-encoding');
    await peer.close();
    await isWell(server, start);
  });

  test('oversized metadata', async () => {
    const { server, start } = await serverAtRest();
    const client = clientOf(server);
    const error = await failure(say(client, {}, { metadata: { 'x-large': 'x'.repeat(20_000) } }));
    expect(error.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
    await server.logMatching(/header|metadata/i);
    // The connection lives on.
    expect((await say(client, { text: 'still' })).text).toBe('still');
    client.close();
    await isWell(server, start);
  });
});

describe('messages that are none', () => {
  test('invalid protobuf, in each kind', async () => {
    const { server, start } = await serverAtRest();
    const peer = await rawPeer(server);
    // Field 1 announces more bytes than follow.
    const invalid = frame(Buffer.from([10, 100, 1]));
    for (const method of ['Say', 'Collect', 'Expand', 'Chat', 'ChatFast']) {
      const stream = peer.request({ path: `/millrace.echo.v1.Echo/${method}` });
      await stream.send(invalid, true);
      const end = await stream.end;
      expect([method, end.code]).toEqual([method, grpc.status.INTERNAL]);
    }
    await server.logMatching(/EchoRequest|ExpandRequest/);
    await peer.close();
    await isWell(server, start);
  });

  test('a message flagged as compressed when no encoding was named', async () => {
    const { server, start } = await serverAtRest();
    const peer = await rawPeer(server);
    for (const path of [SAY, COLLECT]) {
      const stream = peer.request({ path });
      await stream.send(frame(Buffer.from([10, 1, 97]), 1), true);
      const end = await stream.end;
      expect(end.code).toBe(grpc.status.INTERNAL);
      expect(end.message).toMatch(/compress/);
    }
    await server.logMatching(/Echo\/Say.*compress/);
    expect(total(await server.stats(), 'messageErrors')).toBe(2);
    await peer.close();
    await isWell(server, start);
  });

  test('an oversized message is refused by its prefix, and reply bytes by the limit', async () => {
    const { server, start } = await serverAtRest({
      limits: { receiveMessageBytes: 100_000, sendMessageBytes: 50_000 },
    });
    const client = clientOf(server);
    const tooLarge = { data: Buffer.alloc(100_001) };
    const errors = await Promise.all([
      failure(say(client, tooLarge)),
      failure(collect(client, [tooLarge])),
      failure(chat(client, 'chat', [tooLarge])),
      failure(chat(client, 'chatFast', [tooLarge])),
    ]);
    for (const { code } of errors) expect(code).toBe(grpc.status.RESOURCE_EXHAUSTED);
    await server.logMatching(/Echo\/Chat.*larger than the limit/);
    const reply = await failure(say(client, { data: Buffer.alloc(60_000) }));
    expect(reply.code).toBe(grpc.status.RESOURCE_EXHAUSTED);

    const peer = await rawPeer(server);
    const stream = peer.request({ path: COLLECT });
    // The prefix alone, of a message that never comes.
    stream.sendData(Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]));
    expect((await stream.end).code).toBe(grpc.status.RESOURCE_EXHAUSTED);
    await peer.close();
    client.close();
    await isWell(server, start);
  });

  test('more than one message for a unary method', async () => {
    const { server, start } = await serverAtRest();
    const peer = await rawPeer(server);
    const stream = peer.request({ path: SAY });
    await stream.send(Buffer.concat([echoFrame({ text: 'a' }), echoFrame({ text: 'b' })]), true);
    const { code } = await stream.end;
    expect([
      grpc.status.INTERNAL,
      grpc.status.UNIMPLEMENTED,
      grpc.status.INVALID_ARGUMENT,
    ]).toContain(code);
    const none = peer.request({ path: SAY, endStream: true });
    expect((await none.end).code).not.toBe(grpc.status.OK);
    await peer.close();
    await isWell(server, start);
  });
});

describe('peers that go away or stop', () => {
  test('a stream that ends inside a message is an error, not a shorter upload', async () => {
    const { server, start } = await serverAtRest();
    const peer = await rawPeer(server);
    const message = echoFrame({ data: Buffer.alloc(1000, 1) });
    for (const cut of [1, 4, 5, 6, 500, message.length - 1]) {
      const stream = peer.request({ path: COLLECT, fields: [['expected', '2']] });
      await stream.send(Buffer.concat([message, message.subarray(0, cut)]), true);
      expect((await stream.end).code).toBe(grpc.status.INTERNAL);
    }
    await server.logMatching(/Echo\/Collect.*ended inside a message/);
    expect((await server.counters()).truncated).toBe(0);
    await peer.close();
    await isWell(server, start);
  });

  test('a connection cut mid-message cancels its calls', async () => {
    const { server, start } = await serverAtRest();
    for (const way of ['end', 'reset'] as const) {
      const before = await server.counters();
      const peer = await rawPeer(server);
      const stream = peer.request({ path: COLLECT, fields: [['expected', '2']] });
      const message = echoFrame({ data: Buffer.alloc(1000, 1) });
      await stream.send(Buffer.concat([message, message.subarray(0, 500)]));
      await peer.ping();
      await eventually(
        'the handler runs',
        () => server.counters(),
        ({ consumed }) => consumed === before.consumed + 1,
      );
      if (way === 'reset') peer.kill();
      else peer.socket.end();
      const after = await eventually(
        'the handler ends',
        () => server.counters(),
        ({ ended }) => ended === before.ended + 1,
      );
      expect(after.aborted).toBe(before.aborted + 1);
      expect(after.endedBeforeAbort).toBe(0);
      expect(after.truncated).toBe(0);
    }
    expect((await server.counters()).reasons).toEqual({ [grpc.status.CANCELLED]: 2 });
    await server.log(
      'both cuts',
      () => server.logs.filter((line) => /127\.0\.0\.1:\d+/.test(JSON.stringify(line))).length >= 2,
    );
    await isWell(server, start);
  });

  test('a peer that stops reading is cut when its bytes make no progress', async () => {
    const { server, start } = await serverAtRest({ limits: { sendProgressTimeoutMs: 500 } });
    const peer = await RawPeer.connect(server.port, {
      settings: [[4, 2 ** 31 - 1]],
      keep: false,
    });
    onTestFinished(() => peer.close());
    peer.creditConnectionFully();
    peer.request({ path: '/millrace.echo.v1.Echo/Chat', mode: 'flood' });
    peer.socket.pause();
    await eventually(
      'the handler runs',
      () => server.counters(),
      ({ started }) => started === 1,
    );
    await eventually(
      'the connection is cut',
      () => server.stats(),
      (stats) => total(stats, 'connections') === 0,
      20_000,
    );
    expect(total(await server.stats(), 'sendTimeouts')).toBe(1);
    await server.logMatching(/127\.0\.0\.1:\d+/);
    await isWell(server, start);
  });

  test('a peer that never sends its preface is cut', async () => {
    const { server, start } = await serverAtRest({ limits: { handshakeTimeoutMs: 300 } });
    const socket = connect(server.port, '127.0.0.1');
    onTestFinished(() => {
      socket.destroy();
    });
    socket.resume();
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('close', resolve));
    await isWell(server, start);
  });
});

describe('handlers that fail', () => {
  test('a handler that throws: INTERNAL for the peer, the cause for the log', async () => {
    const { server, start } = await serverAtRest();
    const client = clientOf(server);
    const mode = { mode: 'throw' };
    const calls: [string, () => Promise<unknown>][] = [
      ['Say', () => say(client, {}, mode)],
      ['Collect', () => collect(client, [{}], mode)],
      ['Expand', () => expand(client, { count: 1 }, mode)],
      ['Chat', () => chat(client, 'chat', [{}], mode)],
      ['ChatFast', () => chat(client, 'chatFast', [{}], mode)],
      ['ChatFast', () => chat(client, 'chatFast', [{}], { mode: 'throw-in-message' })],
    ];
    for (const [method, call] of calls) {
      const error = await failure(call());
      expect([method, error.code]).toEqual([method, grpc.status.INTERNAL]);
      expect(error.details).not.toMatch(/secret/);
      await server.log(
        `the cause in ${method}`,
        (line) =>
          line.level >= 50 &&
          JSON.stringify(line).includes(`Echo/${method}"`) &&
          JSON.stringify(line).includes('the secret cause'),
      );
    }
    client.close();
    await isWell(server, start);
  });

  test('a handler that throws after some replies', async () => {
    const { server, start } = await serverAtRest();
    const client = clientOf(server);
    const call = client.expand({ count: 10, text: 'x' }, metadataWith('throw-after:3'), {});
    let received = 0;
    const error = await failure(
      (async () => {
        for await (const _ of call) received++;
      })(),
    );
    expect(received).toBe(3);
    expect(error.code).toBe(grpc.status.INTERNAL);
    client.close();
    await isWell(server, start);
  });

  test('a handler that never ends is ended by the cancellation of its call', async () => {
    const { server, start } = await serverAtRest();
    const client = clientOf(server);
    // The call must reach its handler in time: over a connection that exists.
    await say(client, {});
    const before = await server.counters();
    const error = await failure(say(client, {}, { mode: 'never-ends', timeoutMs: 1000 }));
    expect(error.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    const counters = await eventually(
      'the handler ends',
      () => server.counters(),
      ({ ended }) => ended === before.ended + 1,
    );
    expect(counters.aborted).toBe(1);
    await server.logMatching(/Echo\/Say/);
    client.close();
    await isWell(server, start);
  });

  test('what a handler yields after the cancellation goes nowhere', async () => {
    const { server, start } = await serverAtRest();
    const client = clientOf(server);
    const call = openChat(client, 'chat', { mode: 'yield-after-cancel' });
    call.write({ text: 'x' });
    await eventually(
      'the handler runs',
      () => server.counters(),
      ({ started }) => started === 1,
    );
    call.cancel();
    await eventually(
      'the handler ends',
      () => server.counters(),
      ({ ended }) => ended === 1,
    );
    await server.logMatching(/Echo\/Chat/);
    client.close();
    await isWell(server, start);
  });

  test('a handler that ignores its cancellation is named in a warning', async () => {
    const { server, start } = await serverAtRest({ serve: { handlerGraceMs: 200 } });
    const client = clientOf(server);
    // The call must reach its handler in time: over a connection that exists.
    await say(client, {});
    const error = await failure(
      say(client, { text: 'x' }, { mode: 'ignore', timeoutMs: patience(1000) }),
    );
    expect(error.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    const line = await server.log(
      'the handler that ignores its cancellation',
      (line) => line.level >= 40 && JSON.stringify(line).includes('Echo/Say'),
    );
    expect(JSON.stringify(line)).toMatch(/cancel/i);
    await server.release();
    client.close();
    await isWell(server, start);
  });
});

function metadataWith(mode: string): grpc.Metadata {
  const metadata = new grpc.Metadata();
  metadata.set('mode', mode);
  return metadata;
}
