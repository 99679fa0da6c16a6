// Promise 3: bounded memory. Peers that send all they may, and peers that take nothing, against
// handlers that wait: memory and every gauge stay within their bounds, honest calls are answered
// throughout, and afterwards everything is as it was.

import { describe, expect, onTestFinished, test } from 'vitest';
import { assertEchoed, chat, echoClient, grpc, say } from '../support/echo-client.js';
import { decodeEcho, echoFrame, encodeEcho, frame } from '../support/echo-wire.js';
import { eventually } from '../support/eventually.js';
import { patience } from '../support/patience.js';
import { MIB } from '../support/probes.js';
import { RawPeer, type RawStream } from '../support/raw-peer.js';
import { type StartOptions, startServer, type TestServer } from '../support/server.js';
import { type Stats, total } from '../support/stats.js';

const WINDOW_MAX = 2 ** 31 - 1;

function memoryServer(options: StartOptions = {}): Promise<TestServer> {
  return startServer({
    logLevel: 'warn',
    nodeArguments: ['--max-semi-space-size=16'],
    ...options,
  });
}

/** Calls of every kind, all checked, until there are enough. Returns how many there were. */
async function honestCalls(port: number, enough: (calls: number) => boolean): Promise<number> {
  let sum = 0;
  const lanes = Array.from({ length: 4 }, async (_, number) => {
    const client = echoClient(port);
    const messages = Array.from({ length: 30 }, (_, index) => ({
      text: `${number}/${index}`,
      data: Buffer.alloc(index * 300, index),
    }));
    for (let calls = 0; !enough(sum); calls++, sum++) {
      if (calls % 4 === 0) assertEchoed(await chat(client, 'chat', messages), messages);
      else if (calls % 4 === 1) assertEchoed(await chat(client, 'chatFast', messages), messages);
      else expect((await say(client, { text: `${calls}` })).text).toBe(`${calls}`);
    }
    client.close();
  });
  await Promise.all(lanes);
  return sum;
}

/** The same, until told to stop. */
function honestLoad(port: number): () => Promise<number> {
  let over = false;
  const calls = honestCalls(port, () => over);
  return () => {
    over = true;
    return calls;
  };
}

/** The highest resident memory seen while `work` runs, in bytes. */
async function highestMemory(server: TestServer, work: () => Promise<void>): Promise<number> {
  let highest = server.residentBytes();
  const timer = setInterval(() => {
    if (server.exit === undefined) highest = Math.max(highest, server.residentBytes());
  }, 20);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return Math.max(highest, server.residentBytes());
}

/** Lets honest load run for a while: so many calls that the server is as warm on a slow machine. */
async function honestForAWhile(server: TestServer): Promise<void> {
  const end = performance.now() + patience(10_000);
  const enough = (calls: number) => calls >= 2000 || performance.now() > end;
  expect(await honestCalls(server.port, enough)).toBeGreaterThan(10);
}

async function peers(
  server: TestServer,
  count: number,
  options: Parameters<typeof RawPeer.connect>[1],
): Promise<RawPeer[]> {
  const made: RawPeer[] = [];
  onTestFinished(async () => {
    await Promise.all(made.map((peer) => peer.close()));
  });
  for (let index = 0; index < count; index++) {
    const peer = await RawPeer.connect(server.port, { keep: false, ...options });
    made.push(peer);
    // The handshake is over: who stops reading from here on is slow, and nothing worse.
    await peer.ping();
  }
  return made;
}

/** Streams whose handlers wait and never pull; each sends all that its windows admit. */
async function sendAllTheyMay(streams: readonly RawStream[]): Promise<number> {
  const message = echoFrame({ data: Buffer.alloc(1000, 7) });
  let sent = 0;
  // Until credit stops coming: two looks without any.
  for (let idle = 0; idle < 3; ) {
    let more = 0;
    for (const stream of streams) more += stream.sendAllItMay(message);
    sent += more;
    idle = more === 0 ? idle + 1 : 0;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return sent;
}

/** Every gauge that has a budget is within it. */
function withinBudgets(stats: Stats, limits: Record<string, number> = {}): void {
  for (const thread of stats.threads) {
    const value = (name: string) => Number(thread[name]);
    expect(value('bufferedBytes')).toBeLessThanOrEqual(limits['bufferedBytesMax'] ?? 256 * MIB);
    expect(value('bufferedBytesHighest')).toBeLessThanOrEqual(
      limits['bufferedBytesMax'] ?? 256 * MIB,
    );
    expect(value('unsentBytes')).toBeLessThanOrEqual(limits['unsentBytesMax'] ?? 256 * MIB);
    expect(value('ringHeld') + value('ringFree')).toBeLessThanOrEqual(value('ringBuffers'));
  }
}

describe('200 peers that send to handlers that never pull, and 200 that never read', () => {
  test('cost at most 112 MiB, and honest calls are answered throughout', async () => {
    const server = await memoryServer();
    await honestForAWhile(server);
    const start = await eventually(
      'the honest load is gone',
      () => server.stats(),
      (stats) => total(stats, 'connections') === 0,
    );
    const without = await highestMemory(server, () => honestForAWhile(server));

    const stop = honestLoad(server.port);
    const senders = await peers(server, 200, {});
    const readers = await peers(server, 200, { settings: [[4, WINDOW_MAX]] });
    const withThem = await highestMemory(server, async () => {
      for (const [index, peer] of readers.entries()) {
        peer.creditConnectionFully();
        const method = index % 2 === 0 ? 'Chat' : 'Expand';
        const stream = peer.request({ path: `/millrace.echo.v1.Echo/${method}`, mode: 'flood' });
        if (method === 'Expand') stream.sendData(echoFrame({}), true);
        peer.socket.pause();
      }
      const sent = await sendAllTheyMay(
        senders.map((peer) => peer.request({ mode: 'gated-pull' })),
      );
      expect(sent).toBeGreaterThanOrEqual(200 * 60_000);
      withinBudgets(await server.stats());
      withinBudgets(await server.stats());
      await new Promise((resolve) => setTimeout(resolve, 1000));
      withinBudgets(await server.stats());
    });
    expect(await stop()).toBeGreaterThan(10);
    console.info(
      `${server.driver}: 400 peers cost ${Math.round((withThem - without) / MIB)} MiB over ${Math.round(without / MIB)} MiB`,
    );
    expect(withThem - without).toBeLessThanOrEqual(112 * MIB);

    for (const peer of [...senders, ...readers]) peer.kill();
    await server.backAt(start);
    const { started, ended } = await eventually(
      'all handlers have ended',
      () => server.counters(),
      (counters) => counters.started === counters.ended,
    );
    expect(ended).toBe(started);
  });

  test.each([
    ['whose handlers never pull', 'gated-pull'],
    ['that nobody reads', 'flood'],
  ])('200 streams on one connection %s cost at most 40 MiB', async (_, mode) => {
    const server = await memoryServer();
    await honestForAWhile(server);
    const start = await eventually(
      'the honest load is gone',
      () => server.stats(),
      (stats) => total(stats, 'connections') === 0,
    );
    const without = await highestMemory(server, () => honestForAWhile(server));
    const stop = honestLoad(server.port);
    const [peer] = await peers(server, 1, { settings: [[4, WINDOW_MAX]] });
    const withThem = await highestMemory(server, async () => {
      peer!.creditConnectionFully();
      const streams = Array.from({ length: 200 }, () => peer!.request({ mode }));
      if (mode === 'flood') {
        peer!.socket.pause();
      } else {
        // The connection's budget bounds it, not the sum of the streams' windows.
        expect(await sendAllTheyMay(streams)).toBeLessThanOrEqual(10 * MIB);
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
      withinBudgets(await server.stats());
      // The connection's 8 MiB, and what was in the arena when they were reached.
      expect(total(await server.stats(), 'unsentBytes')).toBeLessThanOrEqual(9 * MIB);
    });
    expect(await stop()).toBeGreaterThan(10);
    console.info(
      `${server.driver}: 200 streams ${mode} cost ${Math.round((withThem - without) / MIB)} MiB`,
    );
    expect(withThem - without).toBeLessThanOrEqual(40 * MIB);
    peer!.kill();
    await server.backAt(start);
  });
});

describe.each<[string, number, 'sendTimeouts' | 'stalledStreams']>([
  ['that never read', WINDOW_MAX, 'sendTimeouts'],
  ['that give no window', 0, 'stalledStreams'],
])('100 peers %s', (_, window, counter) => {
  test('hold the budget of the whole thread and no more, and not for long', async () => {
    const limits = {
      unsentBytesMax: 2 * MIB,
      sendProgressTimeoutMs: patience(2000),
      stalledStreamTimeoutMs: patience(2000),
    };
    const server = await memoryServer({ limits });
    const stop = honestLoad(server.port);
    const greedy = await peers(server, 100, { settings: [[4, window]] });
    let highest = 0;
    for (const peer of greedy) {
      if (window > 0) peer.creditConnectionFully();
      for (let stream = 0; stream < 4; stream++) peer.request({ mode: 'flood' });
      if (window > 0) peer.socket.pause();
    }
    await eventually(
      'the budget is full, and free again',
      async () => {
        const stats = await server.stats();
        const held = total(stats, 'unsentBytes') + total(stats, 'framedBytes');
        highest = Math.max(highest, held);
        return highest >= 2 * MIB && held < 2 * MIB && total(stats, counter) > 0;
      },
      (free) => free,
      30_000,
    );
    // What was staged when it filled up, and a message of 16 KiB on its way for each call.
    expect(highest).toBeLessThanOrEqual(3 * MIB + 400 * 17 * 1024);
    expect(await stop()).toBeGreaterThan(10);
    for (const peer of greedy) peer.kill();
  });
});

test('one-byte DATA frames pin no more than their share of the ring', async () => {
  // What a flood of tiny frames ends with is tested elsewhere; here they have to go on.
  const server = await memoryServer({
    limits: { ringBuffers: 64 },
    serve: { http2: { tinyDataPerSecond: 1_000_000 } },
  });
  const start = await server.stats();
  const [peer] = await peers(server, 1, {});
  const streams = Array.from({ length: 8 }, () => peer!.request({ mode: 'gated-pull' }));
  const message = echoFrame({ text: 'x', data: Buffer.alloc(20, 1) });
  for (let round = 0; round < 40; round++) {
    for (const byte of message) {
      for (const stream of streams) stream.sendData(Buffer.from([byte]));
      // Each in a segment of its own, as far as the kernel lets us.
      await new Promise((resolve) => setImmediate(resolve));
    }
    const held = total(await server.stats(), 'ringHeld');
    expect(held).toBeLessThanOrEqual(Math.max(4, 64 / 8));
  }
  const client = echoClient(server.port);
  expect((await say(client, { text: 'alive' })).text).toBe('alive');
  client.close();
  await server.release();
  for (const stream of streams) stream.sendData(Buffer.alloc(0), true);
  for (const stream of streams) {
    expect((await stream.end).code).toBe(0);
    expect(stream.count).toBe(40);
  }
  await peer!.close();
  await server.backAt(start);
});

test('a ring of 16 buffers never locks up under 200 streams that stop and go', async () => {
  const server = await memoryServer({ limits: { ringBuffers: 16 } });
  const start = await server.stats();
  const connections = await peers(server, 20, { keep: true });
  const message = (stream: number, index: number) => ({
    text: `${stream}/${index}`,
    data: Buffer.alloc((index * 997) % 20_000, stream),
  });
  const COUNT = 20;
  const streams = connections.flatMap((peer) =>
    Array.from({ length: 10 }, (_, index) =>
      peer.request({ path: `/millrace.echo.v1.Echo/${index % 2 === 0 ? 'Chat' : 'ChatFast'}` }),
    ),
  );
  const sent = streams.map(async (stream, number) => {
    for (let index = 0; index < COUNT; index++) {
      await stream.send(echoFrame(message(number, index)));
    }
    await stream.send(Buffer.alloc(0), true);
  });
  // Readers that stop and go, in turns.
  let over = false;
  const disturbed = (async () => {
    for (let turn = 0; !over; turn++) {
      for (const [index, peer] of connections.entries()) {
        if ((index + turn) % 3 === 0) peer.socket.pause();
        else peer.socket.resume();
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    for (const peer of connections) peer.socket.resume();
  })();
  const ends = await Promise.all(streams.map((stream) => stream.end));
  over = true;
  await Promise.all([disturbed, ...sent]);
  expect(ends.filter(({ code }) => code !== 0)).toEqual([]);
  for (const [number, stream] of streams.entries()) {
    assertEchoed(
      stream.messages.map(decodeEcho),
      Array.from({ length: COUNT }, (_, index) => message(number, index)),
    );
  }
  const stats = await server.stats();
  expect(total(stats, 'ringLowestFree')).toBeLessThanOrEqual(1);
  await Promise.all(connections.map((peer) => peer.close()));
  await server.backAt(start);
});

test('500 uploads of 4 MiB at once complete under a budget of 32 MiB', {
  timeout: patience(120_000),
}, async () => {
  const limits = { bufferedBytesMax: 32 * MIB, stalledStreamTimeoutMs: patience(60_000) };
  const server = await memoryServer({ limits });
  const start = await server.stats();
  const connections = await peers(server, 10, { keep: true });
  const data = Buffer.alloc(4 * MIB - 1024, 9);
  const upload = frame(encodeEcho({ data }));
  const highest = await highestMemory(server, async () => {
    const streams = connections.flatMap((peer) =>
      Array.from({ length: 50 }, (_, index) => {
        const path = `/millrace.echo.v1.Echo/${index % 2 === 0 ? 'Say' : 'Collect'}`;
        const stream = peer.request({ path, mode: index % 2 === 0 ? 'length' : '' });
        void stream.send(upload, true);
        return stream;
      }),
    );
    const ends = await Promise.all(streams.map((stream) => stream.end));
    expect(ends.filter(({ code }) => code !== 0)).toEqual([]);
    const lengths = streams
      .filter((_, index) => index % 2 === 0)
      .map((stream) => decodeEcho(stream.messages[0]!).text);
    expect(new Set(lengths)).toEqual(new Set([String(data.length)]));
  });
  withinBudgets(await server.stats(), limits);
  console.info(`${server.driver}: 500 uploads, highest memory ${Math.round(highest / MIB)} MiB`);
  await Promise.all(connections.map((peer) => peer.close()));
  await server.backAt(start);
});

test('unread streams do not hold up their neighbours on the connection', async () => {
  const server = await memoryServer();
  const start = await server.stats();
  const [peer] = await peers(server, 1, { keep: true });
  const unread = Array.from({ length: 50 }, () => peer!.request({ mode: 'gated-pull' }));
  await sendAllTheyMay(unread);
  const messages = Array.from({ length: 200 }, (_, index) => ({
    text: `${index}`,
    data: Buffer.alloc(10_000, index),
  }));
  const neighbour = peer!.request({});
  await neighbour.send(Buffer.concat(messages.map((message) => echoFrame(message))), true);
  expect((await neighbour.end).code).toBe(0);
  assertEchoed(neighbour.messages.map(decodeEcho), messages);
  await peer!.close();
  await server.backAt(start);
});

test('a message larger than the window waits for its reader, then arrives', async () => {
  const server = await memoryServer();
  const start = await server.stats();
  const [peer] = await peers(server, 1, { keep: true });
  const large = { text: 'late', data: Buffer.alloc(3 * MIB, 5) };
  const stream = peer!.request({ mode: 'gated-pull' });
  let isSent = false;
  const sent = stream.send(echoFrame(large), true).then(() => {
    isSent = true;
  });
  await eventually(
    'the window is used up',
    () => stream.sendWindow,
    (window) => window === 0,
  );
  await peer!.ping();
  expect(isSent).toBe(false);
  await server.release();
  await sent;
  expect((await stream.end).code).toBe(0);
  assertEchoed(stream.messages.map(decodeEcho), [large]);
  await peer!.close();
  await server.backAt(start);
});

test('streams that stay unread while memory is full are ended, the oldest first', async () => {
  const limits = {
    receiveMessageBytes: MIB,
    bufferedBytesMax: 2 * MIB,
    stalledStreamTimeoutMs: 500,
  };
  const server = await memoryServer({ limits });
  const start = await server.stats();
  const connections = await peers(server, 40, {});
  const streams = connections.flatMap((peer) =>
    Array.from({ length: 4 }, () => peer.request({ mode: 'gated-pull' })),
  );
  await sendAllTheyMay(streams);
  const ends = await Promise.race(
    streams.map(async (stream, index) => ({ index, end: await stream.end })),
  );
  expect(ends.end.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
  expect(total(await server.stats(), 'stalledStreams')).toBeGreaterThan(0);
  await server.logMatching(/Echo\/Chat.*not read/);
  const client = echoClient(server.port);
  expect((await say(client, { text: 'alive' })).text).toBe('alive');
  client.close();
  for (const peer of connections) peer.kill();
  await server.backAt(start);
});

test('ChatFast with a peer that does not read stays bounded, without an error', async () => {
  const server = await memoryServer();
  const start = await server.stats();
  const [peer] = await peers(server, 1, { keep: true, autoCredit: false });
  const stream = peer!.request({ path: '/millrace.echo.v1.Echo/ChatFast' });
  const COUNT = 3000;
  const message = (index: number) => ({ text: `${index}`, data: Buffer.alloc(1000, index) });
  const sent = stream.send(
    Buffer.concat(Array.from({ length: COUNT }, (_, index) => echoFrame(message(index)))),
    true,
  );
  // It takes what its own mark and the windows allow, then it waits.
  const { consumed, unsent } = await eventually(
    'the handler is paused',
    async () => {
      const before = (await server.counters()).consumed;
      await new Promise((resolve) => setTimeout(resolve, 200));
      const after = (await server.counters()).consumed;
      const unsent = total(await server.stats(), 'unsentBytes');
      return { consumed: after, unsent, still: after === before && after > 0 };
    },
    ({ still, unsent }) => still && unsent > 0,
  );
  expect(consumed).toBeLessThan(COUNT);
  expect(unsent).toBeLessThanOrEqual(256 * 1024 + 2048);
  expect(stream.isOver).toBe(false);
  peer!.creditConnectionFully();
  peer!.credit(stream.id, WINDOW_MAX - 65_535);
  await sent;
  expect((await stream.end).code).toBe(0);
  assertEchoed(
    stream.messages.map(decodeEcho),
    Array.from({ length: COUNT }, (_, i) => message(i)),
  );
  await peer!.close();
  await server.backAt(start);
});

test('low, critical and an empty ring are reached, survived and counted', async () => {
  const server = await memoryServer({ limits: { ringBuffers: 16 } });
  const start = await server.stats();
  const connections = await peers(server, 40, {});
  const message = frame(encodeEcho({ data: Buffer.alloc(15_000, 3) }));
  const streams = connections.flatMap((peer) =>
    Array.from({ length: 4 }, () => peer.request({ mode: 'gated-pull' })),
  );
  for (const stream of streams) void stream.send(Buffer.concat([message, message, message]), true);
  await eventually(
    'every pressure has shown',
    async () => {
      const stats = await server.stats();
      return Object.fromEntries(
        ['levelLow', 'levelCritical', 'enobufs', 'copiedOutBytes'].map((name) => [
          name,
          total(stats, name),
        ]),
      );
    },
    (seen) => Object.values(seen).every((count) => count > 0),
  );
  await server.release();
  for (const stream of streams) {
    expect((await stream.end).code).toBe(0);
    expect(stream.count).toBe(3);
  }
  await Promise.all(connections.map((peer) => peer.close()));
  await server.backAt(start);
});
