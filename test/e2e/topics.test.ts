// Topics: native code sends events to every subscriber, in order, and bounds what waits for each.

import { Event, PubSub } from '@millrace/pubsub';
import { attach, Status, StatusError, service, topics } from 'millrace';
import { describe, expect, test } from 'vitest';
import { makeAuthority } from '../support/certificates/make.js';
import { eventually } from '../support/eventually.js';
import { heldBytes } from '../support/garbage.js';
import { range } from '../support/numbers.js';
import { statusOf, take } from '../support/our-client.js';
import { MIB } from '../support/probes.js';
import {
  eventsOf,
  numberOf,
  rawSubscriber,
  rawSubscription,
  subscriber,
  topicsServer,
  uniqueName,
} from '../support/topics.js';

/** A promise, and what resolves it. */
function withResolver() {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

describe('who gets what', () => {
  test('a subscriber gets what matches its pattern from its headers on, in order', async () => {
    const { server, events, publish, emptied } = await topicsServer();
    const client = subscriber(server);
    const patterns = ['a.b', 'a.*', '>', 'c.>'];
    publish('a.b', 999);
    const streams = patterns.map((pattern) => client.subscribe({ pattern }));
    await Promise.all(streams.map((stream) => stream.headers));
    const delivered = range(0, 300).map((number) => {
      const topic = ['a.b', 'a.c', 'c.d.e'][number % 3]!;
      return publish(topic, number).delivered;
    });
    expect(new Set(delivered.filter((_, i) => i % 3 === 0))).toEqual(new Set([3]));
    expect(new Set(delivered.filter((_, i) => i % 3 === 1))).toEqual(new Set([2]));
    for (const [index, wanted] of [
      (n: number) => n % 3 === 0,
      (n: number) => n % 3 !== 2,
      () => true,
      (n: number) => n % 3 === 2,
    ].entries()) {
      const expected = range(0, 300).filter(wanted);
      const got = await take(streams[index]!, expected.length);
      expect(got.map((event) => [numberOf(event), event.dropped])).toEqual(
        expected.map((number) => [number, 0n]),
      );
    }
    await emptied();
    expect(events.stats()).toMatchObject({ published: 301, dropped: 0, delivered: 700 });
  });

  test('of more topics than it may know a thread forgets some, and refuses none', async () => {
    const { server, events, publish } = await topicsServer({}, { limits: { topics: 10 } });
    const stream = subscriber(server).subscribe({ pattern: 'a.*' });
    await stream.headers;
    for (const round of range(0, 2)) {
      for (const number of range(0, 25)) {
        expect(publish(`a.${number}`, 25 * round + number).delivered).toBe(1);
      }
    }
    expect((await take(stream, 50)).map(numberOf)).toEqual(range(0, 50));
    expect(events.stats()).toMatchObject({ topics: 10, topicsForgotten: 40 });
  });

  test('topics that were published to once leave no memory behind', async () => {
    const { server, events, publish, emptied } = await topicsServer(
      {},
      { limits: { topics: 1000 }, retention: { count: 1000 } },
    );
    const stream = subscriber(server).subscribe({ pattern: 'watched' });
    await stream.headers;
    let number = 0;
    const name = 'x'.repeat(200);
    const round = async () => {
      for (const _ of range(0, 100)) {
        for (const __ of range(0, 1000)) publish(`rooms.${name}.${number}`, number++);
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    await round();
    const before = heldBytes();
    for (const _ of range(0, 3)) await round();
    // Names alone would be 60 MB, on each side.
    expect((heldBytes() - before) / MIB).toBeLessThan(40);
    expect(events.stats()).toMatchObject({ topics: 1000, topicsForgotten: number - 1000 });
    stream.cancel();
    await emptied();
  });

  test('of a queue group one member gets an event, in turn', async () => {
    const { server, publish } = await topicsServer();
    const client = subscriber(server);
    const streams = range(0, 3).map(() =>
      client.subscribe({ pattern: 'jobs.>', group: 'workers' }),
    );
    const other = client.subscribe({ pattern: 'jobs.>', group: 'others' });
    await Promise.all([...streams, other].map((stream) => stream.headers));
    for (const number of range(0, 30)) expect(publish('jobs.new', number).delivered).toBe(2);
    const got = await Promise.all(
      streams.map(async (stream) => (await take(stream, 10)).map(numberOf)),
    );
    expect(got.flat().sort((a, b) => a - b)).toEqual(range(0, 30));
    for (const numbers of got) expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    other.cancel();
  });

  test('events larger than a frame and than the window arrive whole', async () => {
    const { server, publish } = await topicsServer();
    const { peer, stream } = await rawSubscriber(server, '>', 1000);
    const sizes = [10, 400_000, 20, 16_384, 70_000, 5];
    for (const [number, bytes] of sizes.entries()) publish('a', number, Math.max(bytes, 4));
    // As little as a peer may give, again and again.
    while (stream.count < sizes.length) {
      peer.credit(stream.id, 9_999);
      await peer.ping();
    }
    expect(eventsOf(stream).map((event) => [numberOf(event), event.payload.length])).toEqual(
      [...sizes.entries()].map(([number, bytes]) => [number, Math.max(bytes, 4)]),
    );
  });

  test('an illegal topic or pattern is refused with its field', async () => {
    const { server, events } = await topicsServer();
    const client = subscriber(server);
    for (const topic of ['', 'a..b', '$sys.a', 'a.*', 'x'.repeat(257)]) {
      expect(() => events.publish(topic, {})).toThrow(StatusError);
    }
    for (const pattern of ['', 'a.>.b', 'a*', '$a']) {
      const error = await statusOf(client.subscribe({ pattern })[Symbol.asyncIterator]().next());
      expect(error.code).toBe(Status.INVALID_ARGUMENT);
      expect(error.message).toContain('pattern');
    }
  });
});

describe('a subscriber that does not read', () => {
  // The first event fills the window; nothing else leaves before there is credit.
  const WINDOW = 100;

  async function stuck(options: Parameters<typeof topicsServer>[0]) {
    const made = await topicsServer(options);
    const reader = await rawSubscriber(made.server, '>', WINDOW);
    made.publish('a', 0, 1000);
    await eventually('the window is full', async () => {
      await reader.peer.ping();
      return reader.peer.streams.size === 1;
    });
    return { ...made, ...reader };
  }

  test('drop-oldest keeps the newest, and says how many are missing', async () => {
    const { peer, stream, publish, events } = await stuck({
      slowConsumer: 'drop-oldest',
      maxPending: 10,
    });
    for (const number of range(1, 101)) publish('a', number);
    await eventually('they are dropped', () => events.stats().dropped === 90);
    peer.credit(stream.id, 1_000_000);
    await stream.receivedMessages(11);
    publish('a', 101);
    await stream.receivedMessages(12);
    expect(eventsOf(stream).map((event) => [numberOf(event), event.dropped])).toEqual([
      [0, 0n],
      [91, 90n],
      ...range(92, 102).map((number) => [number, 0n]),
    ]);
  });

  test('drop-newest keeps the oldest, and says how many are missing behind them', async () => {
    const { peer, stream, publish, events } = await stuck({
      slowConsumer: 'drop-newest',
      maxPending: 10,
    });
    for (const number of range(1, 101)) publish('a', number);
    await eventually('they are dropped', () => events.stats().dropped === 90);
    peer.credit(stream.id, 1_000_000);
    await stream.receivedMessages(11);
    publish('a', 101);
    publish('a', 102);
    await stream.receivedMessages(13);
    expect(eventsOf(stream).map((event) => [numberOf(event), event.dropped])).toEqual([
      [0, 0n],
      ...range(1, 11).map((number) => [number, 0n]),
      [101, 90n],
      [102, 0n],
    ]);
  });

  test('disconnect ends the call with RESOURCE_EXHAUSTED', async () => {
    const { stream, publish, events, emptied } = await stuck({
      slowConsumer: 'disconnect',
      maxPending: 10,
    });
    for (const number of range(1, 11)) publish('a', number);
    await stream.peer.ping();
    expect(events.stats().disconnected).toBe(0);
    publish('a', 11);
    const { code, message } = await stream.end;
    expect(code).toBe(Status.RESOURCE_EXHAUSTED);
    expect(message).toMatch(/10 events were pending.*disconnect/);
    expect(publish('a', 12).delivered).toBe(0);
    expect(events.stats().disconnected).toBe(1);
    await emptied();
  });

  test('block has publishers of that topic wait, and of that alone', async () => {
    const { server, events, publish } = await topicsServer({
      slowConsumer: 'block',
      maxPending: 10,
    });
    const { peer, stream } = await rawSubscriber(server, 'slow.*', WINDOW);
    expect(events.writable('slow.a')).toBe(true);
    publish('slow.a', 0, 1000);
    let number = 1;
    while (events.writable('slow.a') === true) publish('slow.a', number++);
    // The one that has left in part, and those that wait.
    expect(number).toBeGreaterThanOrEqual(10);
    expect(number).toBeLessThanOrEqual(11);
    expect(events.writable('fast.a')).toBe(true);
    let open = false;
    const opened = (events.writable('slow.b') as Promise<void>).then(() => {
      open = true;
    });
    await peer.ping();
    expect(open).toBe(false);
    await eventually('the wait is counted', () => events.stats().blockedMs > 0);
    peer.credit(stream.id, 1_000_000);
    await opened;
    expect(events.writable('slow.a')).toBe(true);
    await stream.receivedMessages(number);
    expect(eventsOf(stream).map(numberOf)).toEqual(range(0, number));
    expect(events.stats()).toMatchObject({ dropped: 0, disconnected: 0 });
    expect(events.stats().blockedMs).toBeGreaterThan(0);
  });

  test('who blocks for too long is cut off, and publishers go on', async () => {
    const { server, events, publish, emptied } = await topicsServer(
      { slowConsumer: 'block', maxPending: 5 },
      { blockTimeoutMs: 300 },
    );
    const { stream } = await rawSubscriber(server, '>', WINDOW);
    for (const number of range(0, 20)) publish('a', number, 100);
    const writable = events.writable('a');
    expect(writable).not.toBe(true);
    await writable;
    const { code, message } = await stream.end;
    expect(code).toBe(Status.RESOURCE_EXHAUSTED);
    expect(message).toMatch(/made publishers wait for 300 ms with 5 events pending.*block/);
    expect(events.stats().disconnected).toBe(1);
    expect(events.writable('a')).toBe(true);
    await emptied();
  });

  test('what waits is there once, however many wait for it', async () => {
    const { server, publish, emptied } = await topicsServer({ maxPending: 100 });
    const { peer } = await rawSubscriber(server, '>', 0);
    for (const _ of range(1, 50)) rawSubscription(peer, '>');
    await eventually('all are subscribed', () => publish('b', 0).delivered === 50);
    for (const number of range(0, 200)) publish('a', number, 10_000);
    const waiting = await eventually(
      'they wait',
      async () => (await server.stats()).total['eventBytesWaiting']!,
      (bytes) => bytes > 100 * 10_000,
    );
    expect(waiting).toBeLessThan(101 * 10_100);
    peer.kill();
    await emptied();
  });
});

describe('the end', () => {
  test('cancelled calls and lost connections leave nothing behind', async () => {
    const { server, events, publish, emptied } = await topicsServer();
    const client = subscriber(server);
    for (const _ of range(0, 20)) {
      const { peer } = await rawSubscriber(server, '>', 5000);
      const stream = client.subscribe({ pattern: '>' });
      await stream.headers;
      for (const number of range(0, 50)) publish('a', number, 500);
      await stream[Symbol.asyncIterator]().next();
      stream.cancel();
      peer.kill();
    }
    await emptied();
    expect((await server.stats()).total['activeCalls']).toBe(0);
    expect(publish('a', 0).delivered).toBe(0);
    expect(events.stats().subscriptions).toBe(0);
  });

  test('a subscription that comes after its call is over, too', async () => {
    const events = topics(Event, { name: uniqueName('late') });
    const subscription = events.subscribe('>');
    const entered = withResolver();
    const cancelled = withResolver();
    const unused = () => {
      throw new StatusError(Status.UNIMPLEMENTED, 'not here');
    };
    const { server } = await topicsServer(
      {},
      {},
      {
        services: [
          service(PubSub, {
            publish: unused,
            publishStream: unused,
            consume: unused,
            async *subscribe(_, ctx) {
              ctx.signal.addEventListener('abort', () => cancelled.resolve());
              entered.resolve();
              await cancelled.promise;
              return subscription;
            },
          }),
        ],
      },
    );
    const stream = subscriber(server).subscribe({ pattern: '>' });
    await entered.promise;
    stream.cancel();
    await subscription.closed;
    expect(events.stats().subscriptions).toBe(0);
    await eventually(
      'no call is left',
      async () => (await server.stats()).total['activeCalls'],
      (calls) => calls === 0,
    );
  });

  test('a drain ends subscriptions with UNAVAILABLE, behind what was published', async () => {
    const { server, publish } = await topicsServer();
    const client = subscriber(server);
    const stream = client.subscribe({ pattern: '>' });
    await stream.headers;
    for (const number of range(0, 100)) publish('a', number);
    const closed = server.close({ drainTimeoutMs: 10_000 });
    const got: number[] = [];
    const error = await statusOf(
      (async () => {
        for await (const event of stream) got.push(numberOf(event));
      })(),
    );
    expect(error.code).toBe(Status.UNAVAILABLE);
    expect(got).toEqual(range(0, 100));
    expect(await closed).toEqual({ completed: 1, aborted: 0 });
  });

  test('a subscription that a handler returns during a drain ends as well', async () => {
    const { events } = await topicsServer();
    const unimplemented = () => {
      throw new StatusError(Status.UNIMPLEMENTED, 'not here');
    };
    let permit = () => {};
    const permitted = new Promise<void>((resolve) => {
      permit = resolve;
    });
    let asked = () => {};
    const begun = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const slow = service(PubSub, {
      publish: unimplemented,
      publishStream: unimplemented,
      consume: unimplemented,
      async subscribe({ pattern }) {
        asked();
        await permitted;
        return events.subscribe(pattern);
      },
    });
    const { server } = await topicsServer(
      {},
      {},
      {
        services: [
          {
            [attach](host) {
              // The drain has begun in the turn after this one.
              host.onDrain(() => setImmediate(() => setImmediate(permit)));
              return [slow];
            },
          },
        ],
      },
    );
    const stream = subscriber(server).subscribe({ pattern: '>' });
    const status = statusOf(stream[Symbol.asyncIterator]().next());
    await begun;
    expect(await server.close({ drainTimeoutMs: 10_000 })).toEqual({ completed: 1, aborted: 0 });
    expect((await status).code).toBe(Status.UNAVAILABLE);
  });
});

describe('under load', () => {
  test('a hundred that never read cost what is bounded, and the others get everything', async () => {
    const { server, events, publish, emptied } = await topicsServer(
      { maxPending: 200 },
      {},
      { limits: { unsentBytesMax: 16 * 1024 * 1024 } },
    );
    const client = subscriber(server);
    const stream = client.subscribe({ pattern: '>' });
    await stream.headers;
    // Windows as large as they can be, and sockets that nobody reads.
    const stuck = await Promise.all(
      range(0, 100).map(() => rawSubscriber(server, '>', 2 ** 31 - 1)),
    );
    for (const { peer } of stuck) peer.socket.pause();
    let most = 0;
    const count = 6_000;
    let next = 0;
    const received = (async () => {
      for await (const event of stream) {
        expect(numberOf(event)).toBe(next++);
        if (next === count) return;
      }
      throw new Error(`the stream has ended after ${next} events`);
    })();
    for (const number of range(0, count)) {
      publish('a', number, 1000);
      if (number % 50 === 49) {
        // As a publisher that waits for its own requests.
        await eventually('they are received', () => next > number);
        const { total } = await server.stats();
        most = Math.max(most, total['framedBytes']! + total['eventBytesWaiting']!);
      }
    }
    await received;
    expect(most).toBeGreaterThan(4 * 1024 * 1024);
    expect(most).toBeLessThan(16 * 1024 * 1024 + 2 * 1024 * 1024);
    expect(events.stats().dropped).toBeGreaterThan(0);
    for (const { peer } of stuck) peer.kill();
    await emptied();
  });

  test('subscribers that come and go leave nothing, and those that stay miss nothing', async () => {
    const { server, publish, emptied } = await topicsServer({ maxPending: 100_000 });
    const client = subscriber(server);
    const stream = client.subscribe({ pattern: 'a.*' });
    await stream.headers;
    const COUNT = 3000;
    let done = false;
    let gone = false;
    const coming = range(0, 4).map(async (seed) => {
      const fleeting = subscriber(server);
      for (let number = 0; !done; number++) {
        const other = fleeting.subscribe({ pattern: ['>', 'a.*', 'a.b'][number % 3]! });
        if ((number + seed) % 4 > 0) await other.headers;
        if ((number + seed) % 4 > 2) await other[Symbol.asyncIterator]().next();
        other.cancel();
        await other.headers.catch(() => {});
      }
    });
    const publishing = (async () => {
      for (const number of range(0, COUNT)) {
        publish('a.b', number, 300);
        if (number % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      // Whoever still waits for an event gets one.
      while (!gone) {
        publish('a.b', COUNT);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    expect((await take(stream, COUNT)).map(numberOf)).toEqual(range(0, COUNT));
    done = true;
    await Promise.all(coming);
    gone = true;
    await publishing;
    await emptied();
  });

  test('over TLS', async () => {
    const { authority, server: certified } = makeAuthority();
    const { cert, key } = certified;
    const { server, publish } = await topicsServer(
      { maxPending: 1000 },
      {},
      { tls: { cert, key } },
    );
    const streams = range(0, 5).map(() =>
      subscriber(server, { tls: { ca: authority.cert } }).subscribe({ pattern: '>' }),
    );
    await Promise.all(streams.map((stream) => stream.headers));
    const sizes = range(0, 300).map((number) => [10, 200, 5_000, 16_384, 70_000][number % 5]!);
    for (const [number, bytes] of sizes.entries()) {
      publish('a', number, bytes);
      if (number % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    for (const stream of streams) {
      const got = await take(stream, sizes.length);
      expect(got.map((event) => [numberOf(event), event.payload.length])).toEqual([
        ...sizes.entries(),
      ]);
    }
  });
});
