// Our client against servers that mean it harm: no loop, no wait beyond a deadline, an error that
// names the attack, and calls to other servers go on. What single frames do is tested in
// native/crates/engine/tests/hostile.rs.

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Status } from 'millrace';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually } from '../../support/eventually.js';
import { encodeFields } from '../../support/hpack.js';
import { startNegative } from '../../support/negative-server.js';
import { ourClient, ourConnection, statusOf } from '../../support/our-client.js';
import { patience } from '../../support/patience.js';
import { Flag, FrameType, Reset, rawFrame, word } from '../../support/raw-peer.js';
import { startServer } from '../../support/server.js';

const MAX_CONCURRENT_STREAMS = 3;
const SETTINGS = rawFrame(FrameType.SETTINGS, 0, 0);
const LAST_STREAM = 2 ** 31 - 1;
const TIMEOUT_MS = patience(20_000);

/** Does the same to every connection; counts them. */
async function hostile(harm: (socket: Socket) => void): Promise<{ port: number; met: Socket[] }> {
  const met: Socket[] = [];
  const server = createServer((socket) => {
    met.push(socket);
    socket.on('error', () => {});
    socket.resume();
    harm(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of met) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, met };
}

function goAway(code: number): Buffer {
  return rawFrame(FrameType.GOAWAY, 0, 0, Buffer.concat([word(LAST_STREAM), word(code)]));
}

/** So many connections in a row are made as fast as they are lost, and the next after a while. */
const BAD_LUCK_MAX = 5;

describe('a server that is gone each time', () => {
  test.each<[string, (socket: Socket) => void]>([
    ['GOAWAY at once', (socket) => socket.write(Buffer.concat([SETTINGS, goAway(0)]))],
    ['an error at once', (socket) => socket.write(Buffer.concat([SETTINGS, goAway(2)]))],
    ['closed at once', (socket) => socket.end(SETTINGS)],
    [
      'GOAWAY for the first call, which it leaves out',
      (socket) => {
        socket.write(SETTINGS);
        socket.on('data', (chunk: Buffer) => {
          // The request's path stands in the clear in none of the client's other frames.
          if (chunk.length < 100) return;
          const left = rawFrame(FrameType.GOAWAY, 0, 0, Buffer.alloc(8));
          socket.write(left);
        });
      },
    ],
  ])('%s: calls fail, and it is left alone for longer and longer', async (_name, harm) => {
    const server = await hostile(harm);
    // The first waits for a second and the next for 1.6, each give or take a fifth.
    const { client, connection } = ourConnection(server.port);
    const error = await statusOf(client.say({}));
    expect(error.code).toBe(Status.UNAVAILABLE);
    expect(error.message).toContain(`127.0.0.1:${server.port}`);
    // A few that come to nothing are bad luck.
    expect(server.met.length).toBeLessThanOrEqual(BAD_LUCK_MAX);
    // Patient calls do not make it any faster, nor do impatient ones, which fail at once.
    const patient = statusOf(client.say({}, { waitForReady: true, timeoutMs: 1500 }));
    for (let call = 0; call < 20; call++) {
      expect((await statusOf(client.say({}))).code).toBe(Status.UNAVAILABLE);
    }
    // It may have been sent before the connection was lost, and then it is not for us to send it again.
    expect([Status.DEADLINE_EXCEEDED, Status.UNAVAILABLE]).toContain((await patient).code);
    expect(server.met.length).toBeLessThanOrEqual(BAD_LUCK_MAX + 3);
    expect(connection.stats().callsUnderWay).toBe(0);
  });
});

describe('a server that refuses every call', () => {
  const refuse = () => startNegative((connection, stream) => connection.reset(stream, 7));

  /** Streams that it was asked for. */
  function asked(server: Awaited<ReturnType<typeof refuse>>): number {
    return server.connections.reduce((sum, { streams }) => sum + streams, 0);
  }

  test('each call is made again once, without a policy', async () => {
    const server = await refuse();
    const client = ourClient(server.port);
    for (let call = 0; call < 20; call++) {
      const error = await statusOf(client.say({}));
      expect(error.code).toBe(Status.UNAVAILABLE);
      expect(error.message).toContain('REFUSED_STREAM');
    }
    expect(asked(server)).toBe(40);
    expect(server.connections.length).toBe(1);
  });

  test.each<[string, object]>([
    [
      'retries',
      {
        retryPolicy: {
          maxAttempts: 3,
          initialBackoff: '0.001s',
          maxBackoff: '0.002s',
          backoffMultiplier: 1,
          retryableStatusCodes: ['UNAVAILABLE'],
        },
      },
    ],
    ['hedging', { hedgingPolicy: { maxAttempts: 3, nonFatalStatusCodes: ['UNAVAILABLE'] } }],
  ])('with a policy of %s it ends, too', async (_name, policy) => {
    const server = await refuse();
    const client = ourClient(server.port, {
      serviceConfig: { methodConfig: [{ name: [{}], ...policy }] },
    });
    for (let call = 0; call < 5; call++) {
      expect((await statusOf(client.say({}))).code).toBe(Status.UNAVAILABLE);
    }
    expect(asked(server)).toBeGreaterThanOrEqual(15);
    expect(asked(server)).toBeLessThanOrEqual(20);
  });
});

test('a server that never has a stream for us: deadlines pass', async () => {
  const server = await startNegative(() => {}, [[MAX_CONCURRENT_STREAMS, 0]]);
  const { client, connection } = ourConnection(server.port);
  const errors = await Promise.all(
    Array.from({ length: 20 }, () => statusOf(client.say({}, { timeoutMs: 100 }))),
  );
  expect(new Set(errors.map(({ code }) => code))).toEqual(new Set([Status.DEADLINE_EXCEEDED]));
  expect(server.connections.map(({ streams }) => streams)).toEqual([0]);
  expect(connection.stats().callsUnderWay).toBe(0);
});

/** A field of 4,000 bytes for the table, and a byte for each use of it. */
function bomb(): Buffer {
  const field = encodeFields([['x', 'v'.repeat(4000)]]);
  field[0] = 0x40;
  return Buffer.concat([encodeFields([[':status', '200']]), field, Buffer.alloc(2000, 0xbe)]);
}

describe('a server that floods its client is cut, and calls to others go on', () => {
  test.each<[string, string, RegExp, (stream: number) => Buffer]>([
    [
      '1xx responses',
      'ignoredFloods',
      /without effect/,
      (stream) =>
        rawFrame(FrameType.HEADERS, Flag.END_HEADERS, stream, encodeFields([[':status', '103']])),
    ],
    ['PING', 'pingFloods', /PING/, () => rawFrame(FrameType.PING, 0, 0, Buffer.alloc(8))],
    [
      'an HPACK bomb',
      'hpackBombs',
      /HPACK bomb/,
      (stream) => rawFrame(FrameType.HEADERS, Flag.END_HEADERS, stream, bomb()),
    ],
  ])('%s', async (_name, counter, message, frame) => {
    const honest = await startServer();
    const other = ourClient(honest.port);
    const chat = other.chat();
    chat.write({ text: 'before' });
    await chat.next();
    const server = await startNegative((connection, stream) => {
      const piece = Buffer.concat(Array.from({ length: 100 }, () => frame(stream)));
      const more = () => {
        if (connection.goAwayCode !== undefined || connection.socket.destroyed) return;
        connection.socket.write(piece, () => setImmediate(more));
      };
      more();
    });
    const { client, connection } = ourConnection(server.port);
    const counted = () => {
      const counters = connection.stats().engine['http2'] as Record<string, number> | undefined;
      return counters?.[counter] ?? 0;
    };
    const before = counted();
    const error = await statusOf(client.say({}, { timeoutMs: TIMEOUT_MS }));
    expect(error.code).toBe(Status.UNAVAILABLE);
    expect(error.message).toContain(`127.0.0.1:${server.port}`);
    expect(error.message).toMatch(message);
    await eventually(
      'GOAWAY',
      async () => server.connections[0]?.goAwayCode,
      (code) => code === Reset.ENHANCE_YOUR_CALM,
    );
    expect(counted() - before).toBe(1);
    chat.write({ text: 'after' });
    expect((await chat.next()).value).toMatchObject({ text: 'after' });
    chat.end();
    expect((await chat.next()).done).toBe(true);
  });
});
