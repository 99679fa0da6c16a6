// The groups `keepalive` and `http2` of serve: what is asked for holds, and is counted when it bites.

import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { echoFrame } from '../support/echo-wire.js';
import { encodeFields } from '../support/hpack.js';
import {
  FrameType,
  RawPeer,
  type RawPeerOptions,
  Reset,
  rawFrame,
  word,
} from '../support/raw-peer.js';
import { startServer, type TestServer } from '../support/server.js';
import { http2Total } from '../support/stats.js';

const RESOURCE_EXHAUSTED = 8;

function start(serve: object): Promise<TestServer> {
  return startServer({ serve: { ...serve } });
}

async function peerOf({ port }: TestServer, options?: RawPeerOptions): Promise<RawPeer> {
  const peer = await RawPeer.connect(port, options);
  onTestFinished(() => peer.close());
  return peer;
}

const settings = rawFrame(FrameType.SETTINGS, 0, 0);
const probe = rawFrame(FrameType.PING, 0, 0, Buffer.alloc(8));
const unknown = rawFrame(0x42, 0, 0);

interface Case {
  readonly http2: Record<string, number>;
  readonly counter: string;
  /** Does a thing as often as it may be done. */
  allowed(peer: RawPeer): void;
  /** Beyond it, also where a second has begun since. */
  beyond(peer: RawPeer): void;
}

function times(count: number, frame: Buffer): (peer: RawPeer) => void {
  return (peer) => peer.write(Buffer.concat(Array(count).fill(frame)));
}

function resets(count: number): (peer: RawPeer) => void {
  return (peer) => {
    for (let index = 0; index < count; index++) peer.request().reset(Reset.CANCEL);
  };
}

/** A header block in so many CONTINUATION frames. */
function continued(count: number): (peer: RawPeer) => void {
  return (peer) => {
    const fields: [string, string][] = [
      [':method', 'POST'],
      [':scheme', 'http'],
      [':path', '/millrace.echo.v1.Echo/Say'],
      ['x-filler', 'x'.repeat(20)],
    ];
    const block = encodeFields(fields);
    const id = 101 + 2 * count;
    peer.write(rawFrame(FrameType.HEADERS, 1, id, block.subarray(0, 1)));
    for (let index = 1; index < count; index++) {
      peer.write(rawFrame(FrameType.CONTINUATION, 0, id, block.subarray(index, index + 1)));
    }
    peer.write(rawFrame(FrameType.CONTINUATION, 4, id, block.subarray(count)));
  };
}

/** DATA on a stream of its own, which stays open. */
function dataFrames(count: number, payload: string): (peer: RawPeer) => void {
  return (peer) => {
    const stream = peer.streams.get(1) ?? peer.request();
    for (let index = 0; index < count; index++) stream.sendData(Buffer.from(payload));
  };
}

const cases: Record<string, Case> = {
  resetBurst: {
    http2: { resetBurst: 5, resetRefillPerSecond: 0 },
    counter: 'rapidResets',
    allowed: resets(5),
    beyond: resets(1),
  },
  settingsPerSecond: {
    http2: { settingsPerSecond: 5 },
    counter: 'settingsFloods',
    // One came with the preface.
    allowed: times(4, settings),
    beyond: times(6, settings),
  },
  settingsEntries: {
    http2: { settingsEntries: 6 },
    counter: 'settingsFloods',
    allowed: times(1, rawFrame(FrameType.SETTINGS, 0, 0, Buffer.alloc(6 * 6, 0xee))),
    beyond: times(1, rawFrame(FrameType.SETTINGS, 0, 0, Buffer.alloc(7 * 6, 0xee))),
  },
  pingsPerSecond: {
    http2: { pingsPerSecond: 5 },
    counter: 'pingFloods',
    // One more asks whether the server still answers.
    allowed: times(4, probe),
    beyond: times(6, probe),
  },
  emptyDataPerSecond: {
    http2: { emptyDataPerSecond: 5 },
    counter: 'emptyDataFloods',
    allowed: dataFrames(5, ''),
    beyond: dataFrames(6, ''),
  },
  tinyDataPerSecond: {
    http2: { tinyDataPerSecond: 5 },
    counter: 'tinyDataFloods',
    allowed: dataFrames(5, '\0'),
    beyond: dataFrames(6, '\0'),
  },
  windowUpdatesBase: {
    http2: { windowUpdatesBase: 8 },
    counter: 'windowUpdateFloods',
    allowed: times(8, rawFrame(FrameType.WINDOW_UPDATE, 0, 0, word(1))),
    beyond: times(9, rawFrame(FrameType.WINDOW_UPDATE, 0, 0, word(1))),
  },
  ignoredFramesPerSecond: {
    http2: { ignoredFramesPerSecond: 5 },
    counter: 'ignoredFloods',
    allowed: times(5, unknown),
    beyond: times(6, unknown),
  },
  continuationFrames: {
    http2: { continuationFrames: 2 },
    counter: 'continuationFloods',
    allowed: continued(2),
    beyond: continued(3),
  },
};

describe('http2', () => {
  test.each(Object.entries(cases))('%s', async (_, { http2, counter, allowed, beyond }) => {
    const server = await start({ http2, keepalive: { minTimeMs: 0 } });
    const peer = await peerOf(server);
    allowed(peer);
    await peer.ping();
    expect(http2Total(await server.stats(), counter)).toBe(0);
    beyond(peer);
    expect((await peer.goingAway()).reason).toBe(Reset.ENHANCE_YOUR_CALM);
    expect(http2Total(await server.stats(), counter)).toBe(1);
  });

  test('headerFields', async () => {
    const server = await start({ http2: { headerFields: 20 } });
    const peer = await peerOf(server);
    const call = (count: number) => {
      const filler = Array.from({ length: count }, (_, index) => [`x-${index}`, ''] as const);
      const stream = peer.request({ fields: filler });
      stream.sendData(Buffer.alloc(0), true);
      return stream.end;
    };
    expect((await call(10)).code).toBe(0);
    expect((await call(20)).code).toBe(RESOURCE_EXHAUSTED);
    expect(http2Total(await server.stats(), 'headerListsOversized')).toBe(1);
  });
});

describe('keepalive', () => {
  test('pingStrikes and minTimeMs: who probes too often is sent away', async () => {
    const server = await start({ keepalive: { minTimeMs: 60_000, pingStrikes: 1 } });
    const peer = await peerOf(server);
    peer.request();
    await peer.ping();
    await peer.ping();
    peer.write(probe);
    expect(await peer.goingAway()).toMatchObject({
      reason: Reset.ENHANCE_YOUR_CALM,
      debug: 'too_many_pings',
    });
    expect(http2Total(await server.stats(), 'pingStrikes')).toBe(2);
  });

  test('permitWithoutCalls: without it, two hours have to lie between probes of the idle', async () => {
    const strict = await start({ keepalive: { minTimeMs: 1, pingStrikes: 0 } });
    const lenient = await start({
      keepalive: { minTimeMs: 1, pingStrikes: 0, permitWithoutCalls: true },
    });
    const busy = await peerOf(strict);
    busy.request();
    for (const peer of [await peerOf(lenient), busy]) {
      for (let count = 0; count < 5; count++) {
        await peer.ping();
        // More than the time between probes, whose unit is the millisecond.
        await delay(20);
      }
      expect(peer.goAway).toBeUndefined();
    }
    const idle = await peerOf(strict);
    await idle.ping();
    await delay(20);
    idle.write(probe);
    expect((await idle.goingAway()).debug).toBe('too_many_pings');
  });

  test('timeMs and timeoutMs: who does not answer is cut, and its handler hears of it', async () => {
    const server = await start({ keepalive: { timeMs: 200, timeoutMs: 1000 } });
    const deaf = await peerOf(server, { answersPings: false });
    const stream = deaf.request();
    stream.sendData(echoFrame({ text: 'x' }));
    await stream.receivedMessages(1);
    const alive = await peerOf(server);
    await deaf.closed;
    await alive.ping();
    expect(http2Total(await server.stats(), 'keepaliveTimeouts')).toBe(1);
    expect((await server.counters()).aborted).toBe(1);
  });
});
