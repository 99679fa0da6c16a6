// Topics on several threads of a process: what one publishes, the subscribers of all get.

import { BroadcastChannel, Worker } from 'node:worker_threads';
import { Event, PubSub, SlowConsumer } from '@millrace/pubsub';
import { type Client, connect, connection, Status, serve, type Topics, topics } from 'millrace';
import pino from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { range } from '../support/numbers.js';
import { all, statusOf, take } from '../support/our-client.js';
import { patience } from '../support/patience.js';
import { numberOf, payloadOf } from '../support/topics.js';

// As test/support/server/topics-services.ts has them.
const threadTopics = { name: 'topics on threads', dropped: 'dropped', blockTimeoutMs: 2_000 };

async function started() {
  const server = await serve({
    host: '127.0.0.1',
    port: 0,
    threads: 2,
    signals: false,
    logger: pino({ level: 'silent' }),
    services: new URL('../dist/server/topics-services.js', import.meta.url),
  });
  onTestFinished(async () => {
    await server.close({ drainTimeoutMs: 1000 });
  });
  // This thread publishes, too, and has no engine that serves.
  const events = topics(Event, threadTopics);
  const client = () => {
    const made = connection(`127.0.0.1:${server.port}`);
    onTestFinished(() => made.close(1000));
    return connect(PubSub, made);
  };
  /** Clients of which each thread has some. */
  const spread = async (count: number): Promise<Client<typeof PubSub>[]> => {
    for (;;) {
      const clients = Array.from({ length: count }, client);
      await Promise.all(clients.map((each) => each.publish({ topic: 'hello' })));
      const { threads } = await server.stats();
      if (threads.every((thread) => Number(thread['connections']) > 0)) return clients;
    }
  };
  return { server, events, client, spread };
}

/** Keeps the thread that a client is connected to busy until it is told to `end`; resolves once it is. */
async function stalled(client: Client<typeof PubSub>) {
  const channel = new BroadcastChannel(threadTopics.name);
  const begun = new Promise<Int32Array>((resolve) => {
    channel.onmessage = (message) => resolve((message as { data: Int32Array }).data);
  });
  const over = client.publish({ topic: 'stall', messageId: String(patience(30_000)) });
  const ended = await begun;
  channel.close();
  return {
    async end() {
      Atomics.store(ended, 0, 1);
      Atomics.notify(ended, 0);
      await over;
    },
  };
}

function publish(events: Topics<Event, { topic?: string; payload?: Uint8Array }>, number: number) {
  return events.publish('a.b', { topic: 'a.b', payload: payloadOf(number) });
}

test('every subscriber gets what any thread publishes, in the order of each publisher', async () => {
  const { server, events, spread } = await started();
  const clients = await spread(12);
  const streams = clients.map((client) => client.subscribe({ pattern: 'a.*', maxPending: 10_000 }));
  await Promise.all(streams.map((stream) => stream.headers));
  const { threads } = await server.stats();
  for (const thread of threads) expect(thread['subscribedCalls']).toBeGreaterThan(0);
  // Publisher 0 is this thread; the others are calls, wherever their connections are.
  const PUBLISHERS = 6;
  const EACH = 200;
  await Promise.all(
    range(0, PUBLISHERS).map(async (publisher) => {
      for (const number of range(0, EACH)) {
        const payload = payloadOf(publisher * EACH + number);
        const { delivered } =
          publisher === 0
            ? events.publish('a.b', { payload })
            : await clients[publisher]!.publish({ topic: 'a.b', payload });
        expect(delivered).toBe(streams.length);
      }
    }),
  );
  await Promise.all(
    streams.map(async (stream) => {
      const next = range(0, PUBLISHERS).map((publisher) => publisher * EACH);
      for (const event of await take(stream, PUBLISHERS * EACH)) {
        const number = numberOf(event);
        const publisher = Math.floor(number / EACH);
        expect(number).toBe(next[publisher]!++);
        expect(event.dropped).toBe(0n);
      }
    }),
  );
  await eventually('nobody is subscribed', () => events.stats().subscriptions === 0);
});

test('once its headers are here, a subscriber misses nothing of other threads', async () => {
  const { events, spread } = await started();
  const clients = await spread(4);
  for (const number of range(0, 100)) {
    const stream = clients[number % clients.length]!.subscribe({ pattern: 'a.b' });
    await stream.headers;
    expect(publish(events, number).delivered).toBe(1);
    const { value } = await stream[Symbol.asyncIterator]().next();
    expect(numberOf(value!)).toBe(number);
    stream.cancel();
    await eventually('it is gone', () => events.stats().subscriptions === 0);
  }
});

test('of a queue group over both threads one member gets an event', async () => {
  const { events, spread } = await started();
  const clients = await spread(6);
  const streams = clients.map((client) => client.subscribe({ pattern: '>', group: 'g' }));
  await Promise.all(streams.map((stream) => stream.headers));
  for (const number of range(0, 60)) expect(publish(events, number).delivered).toBe(1);
  const got = await Promise.all(
    streams.map(async (stream) => (await take(stream, 10)).map(numberOf)),
  );
  expect(got.flat().toSorted((a, b) => a - b)).toEqual(range(0, 60));
});

test('while a thread is busy, what has no room on the way to it is dropped and counted', async () => {
  const { events, client } = await started();
  const subscriber = client();
  const count = 20_000;
  for (const slowConsumer of [
    SlowConsumer.SLOW_CONSUMER_DROP_OLDEST,
    SlowConsumer.SLOW_CONSUMER_DROP_NEWEST,
  ]) {
    const stream = subscriber.subscribe({ pattern: 'a.b', slowConsumer, maxPending: 100_000 });
    await stream.headers;
    const { end } = await stalled(subscriber);
    for (const number of range(0, count)) publish(events, number);
    await end();
    publish(events, count);
    let got = 0;
    let dropped = 0;
    let last = -1;
    for await (const event of stream) {
      got++;
      dropped += Number(event.dropped);
      expect(numberOf(event)).toBeGreaterThan(last);
      last = numberOf(event);
      if (last === count) break;
    }
    expect(dropped).toBeGreaterThan(10_000);
    expect(got + dropped).toBe(count + 1);
  }
});

test('under disconnect the subscriber is cut off instead', async () => {
  const { events, client } = await started();
  const subscriber = client();
  const stream = subscriber.subscribe({
    pattern: 'a.b',
    slowConsumer: SlowConsumer.SLOW_CONSUMER_DISCONNECT,
    maxPending: 100_000,
  });
  await stream.headers;
  const { end } = await stalled(subscriber);
  for (const number of range(0, 20_000)) publish(events, number);
  await end();
  const error = await statusOf(all(stream));
  expect(error.code).toBe(Status.RESOURCE_EXHAUSTED);
  expect(events.stats().subscriptions).toBe(0);
});

test('under block nothing is lost, and the publisher waits', async () => {
  const { events, client } = await started();
  const subscriber = client();
  const stream = subscriber.subscribe({
    pattern: 'a.b',
    slowConsumer: SlowConsumer.SLOW_CONSUMER_BLOCK,
    maxPending: 50,
  });
  await stream.headers;
  const count = 5_000;
  const published = (async () => {
    let waits = 0;
    for (const number of range(0, count)) {
      const writable = events.writable('a.b');
      if (writable !== true) {
        waits++;
        await writable;
      }
      publish(events, number);
    }
    return waits;
  })();
  const stalled = subscriber.publish({ topic: 'stall', messageId: '500' });
  expect((await take(stream, count)).map(numberOf)).toEqual(range(0, count));
  // For the stalled thread at least; how often beyond that, the threads' speeds decide.
  expect(await published).toBeGreaterThan(0);
  await stalled;
});

test('a busy thread does not hold up publishers of others for longer than its subscriber may', async () => {
  const { events, client } = await started();
  const subscriber = client();
  const stream = subscriber.subscribe({
    pattern: 'a.b',
    slowConsumer: SlowConsumer.SLOW_CONSUMER_BLOCK,
    maxPending: 5,
  });
  await stream.headers;
  const end = statusOf(all(stream));
  const { disconnected } = events.stats();
  let isStalled = true;
  const stalled = subscriber.publish({ topic: 'stall', messageId: '8000' }).then(() => {
    isStalled = false;
  });
  // It may take some events until the thread has heard of it.
  let number = 0;
  const began = performance.now();
  while (events.stats().subscriptions > 0) {
    const writable = events.writable('a.b');
    if (writable !== true) await writable;
    else publish(events, number++);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(isStalled).toBe(true);
  expect(performance.now() - began).toBeGreaterThan(threadTopics.blockTimeoutMs - 50);
  expect(events.stats().disconnected).toBe(disconnected + 1);
  expect(publish(events, number).delivered).toBe(0);
  await stalled;
  const { code, message } = await end;
  expect(code).toBe(Status.RESOURCE_EXHAUSTED);
  expect(message).toContain('2000 ms');
  expect(events.stats().disconnected).toBe(disconnected + 1);
});

test('a thread that dies takes its subscribers with it, and holds nobody up', async () => {
  const { events, spread } = await started();
  const clients = await spread(8);
  const streams = clients.map((client) =>
    client.subscribe({
      pattern: 'a.b',
      slowConsumer: SlowConsumer.SLOW_CONSUMER_BLOCK,
      maxPending: 10,
    }),
  );
  await Promise.all(streams.map((stream) => stream.headers));
  let lost = 0;
  const received = streams.map((): number[] => []);
  const read = streams.map(async (stream, index) => {
    try {
      for await (const event of stream) received[index]!.push(numberOf(event));
    } catch {
      lost++;
    }
  });
  await statusOf(clients[0]!.publish({ topic: 'die' }));
  await eventually('its subscribers are gone', () => events.stats().subscriptions < 8);
  await eventually('they have heard of it', () => lost === 8 - events.stats().subscriptions);
  const living = events.stats().subscriptions;
  expect(living).toBeGreaterThan(0);
  for (const number of range(0, 500)) {
    const writable = events.writable('a.b');
    if (writable !== true) await writable;
    expect(publish(events, number).delivered).toBe(living);
  }
  await eventually(
    'all has arrived',
    () => received.filter((numbers) => numbers.length === 500).length === living,
  );
  for (const stream of streams) stream.cancel();
  await Promise.all(read);
  expect(received.filter((numbers) => numbers.length > 0).length).toBe(living);
  await eventually('nobody is subscribed', () => events.stats().subscriptions === 0);
});

/** What a thread does that publishes event `n` by `publish(n)`. */
const ends = {
  'process.exit()': 'publish(7); process.exit(0);',
  'an error': 'setImmediate(() => { publish(7); throw new Error("on purpose"); });',
  'its end, in a listener': 'process.on("exit", () => publish(7));',
};

for (const [by, code] of Object.entries(ends)) {
  test(`what a thread has published is not lost with it: ${by}`, async () => {
    const { events, spread } = await started();
    const [client] = await spread(2);
    const stream = client!.subscribe({ pattern: 'a.b' });
    await stream.headers;
    const before = events.stats().published;
    const publisher = `
      const { workerData } = require('node:worker_threads');
      (async () => {
        const { topics } = await import('millrace');
        const { Event } = await import('@millrace/pubsub');
        const events = topics(Event, workerData);
        const publish = (number) => events.publish('a.b', { payload: new Uint8Array([0, 0, 0, number]) });
        ${code}
      })();`;
    const worker = new Worker(publisher, { eval: true, workerData: threadTopics });
    worker.on('error', () => {});
    await new Promise((resolve) => worker.once('exit', resolve));
    expect(events.stats().published - before).toBe(1);
    expect((await take(stream, 1)).map(numberOf)).toEqual([7]);
  });
}
