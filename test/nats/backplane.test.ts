import { setImmediate } from 'node:timers/promises';
import type { Start } from '@millrace/pubsub';
import { RetryInfo, Status } from 'millrace';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { eventually } from '../support/eventually.js';
import {
  administer,
  closeNodes,
  type EventInit,
  ever,
  failure,
  Node,
} from '../support/nats-link.js';
import { NatsServer, natsServerInstalled } from '../support/nats-server.js';
import { natsSetting } from '../support/nats-setting.js';
import { numbers, range } from '../support/numbers.js';

const installed = natsServerInstalled('the tests of the NATS backplane');
const decoder = new TextDecoder();

describe.skipIf(!installed)('with nats-server', () => {
  const nats = natsSetting();
  const { node } = nats;

  test('what one process publishes reaches the other, in order, with sequences', async () => {
    const [a, b] = [node(), node()];
    const [seenByA, seenByB] = [await a.subscribe(), await b.subscribe()];
    const outcomes = await Promise.all(
      Array.from({ length: 500 }, (_, index) => a.publish(`orders.${index % 3}`, String(index))),
    );
    expect(outcomes.map(({ sequence }) => Number(sequence))).toEqual(range(1, 501));
    expect(new Set(outcomes.map(({ delivered }) => delivered))).toEqual(new Set([3]));
    for (const seen of [seenByA, seenByB]) {
      const events = await seen.reaches(500);
      expect(events.map(({ text }) => Number(text))).toEqual(outcomes.map((_, index) => index));
      expect(events.map(({ sequence }) => Number(sequence))).toEqual(
        outcomes.map((_, index) => index + 1),
      );
      expect(events[4]?.topic).toBe('orders.1');
    }
  });

  test('transient topics have no sequence and reach every process', async () => {
    const [a, b] = [node(), node()];
    const [seenByA, seenByB] = [await a.subscribe(), await b.subscribe()];
    expect(await a.publish('ticks.x', 'now')).toEqual({
      sequence: 0n,
      delivered: 3,
      duplicate: false,
    });
    for (const seen of [seenByA, seenByB]) {
      expect(await seen.reaches(1)).toEqual([{ topic: 'ticks.x', text: 'now', sequence: 0n }]);
    }
  });

  test('a message id is published once in its window, by whichever process', async () => {
    const [a, b] = [node(), node()];
    expect(await a.publish('orders', 'x', 'id 1/ä')).toMatchObject({
      sequence: 1n,
      duplicate: false,
    });
    expect(await b.publish('orders', 'x', 'id 1/ä')).toEqual({
      sequence: 1n,
      delivered: 0,
      duplicate: true,
    });
    expect(await a.publish('orders', 'y', 'id 2')).toMatchObject({
      sequence: 2n,
      duplicate: false,
    });
  });

  test('a full stream refuses publishers with the time to wait, and keeps what it has', async () => {
    const a = node({ retention: { count: 3 } });
    for (let index = 0; index < 3; index++) await a.publish('orders', String(index));
    const error = await failure(a.publish('orders', 'one more'));
    expect(error.code).toBe(Status.RESOURCE_EXHAUSTED);
    expect(error.message).toContain('maximum messages exceeded');
    expect(error.detail(RetryInfo)?.retryDelay?.seconds).toBe(1n);
    expect((await a.replay('>', 'earliest')).texts).toEqual(['0', '1', '2']);
  });

  test('an event that nats-server does not take is refused with its limit', async () => {
    const error = await failure(node().publish('orders', 'x'.repeat(2 ** 20)));
    expect(error.code).toBe(Status.RESOURCE_EXHAUSTED);
    expect(error.message).toContain('max_payload');
  });

  test('a replay ends where the live events begin', async () => {
    const a = node();
    for (let index = 1; index <= 40; index++) await a.publish(`orders.${index % 2}`, String(index));
    expect(await a.replay('orders.1', 'earliest')).toEqual({
      texts: Array.from({ length: 20 }, (_, index) => String(2 * index + 1)),
      next: { sequence: 41n },
    });
    expect((await a.replay('orders.0', { sequence: 31n })).texts).toEqual([
      '32',
      '34',
      '36',
      '38',
      '40',
    ]);
    expect((await a.replay('orders.*', { sequence: 30n })).texts).toEqual(numbers(30, 40));
    expect(await a.replay('nothing', { sequence: 30n })).toEqual({
      texts: [],
      next: { sequence: 41n },
    });
    expect((await a.replay('>', { time: Date.now() - 60_000 })).texts).toHaveLength(40);
    expect((await a.replay('>', { time: Date.now() + 60_000 })).texts).toHaveLength(0);
  });

  test('a replay goes on while events are published, and leaves none out', async () => {
    const [a, b] = [node(), node()];
    for (let index = 1; index <= 600; index++) void a.publish('orders', String(index));
    await a.publish('orders', '601');
    const interest = await b.link.interest(
      { pattern: '>', group: '', start: 'earliest', blocking: false },
      ever,
    );
    const texts: string[] = [];
    let next: Start | undefined;
    let published = 601;
    for (;;) {
      const { done, value } = await interest.replay!.next();
      if (done === true) {
        next = value;
        break;
      }
      texts.push(decoder.decode(value.payload));
      if (published < 900) void a.publish('orders', String(++published));
    }
    const from = Number((next as { sequence: bigint }).sequence);
    await a.publish('orders', 'last');
    const local = b.topics(interest.topics);
    while (local.events.at(-1)?.text !== 'last') await local.reaches(local.events.length + 1);
    const live = local.events.filter(({ sequence }) => Number(sequence) >= from);
    expect([...texts, ...live.map(({ text }) => text)]).toEqual([...numbers(1, published), 'last']);
  });

  test('a blocking subscriber gets everything at its own pace, also over a restart of NATS', async () => {
    const [a, b] = [node(), node()];
    const subscriber = { pattern: 'orders.>', group: '', start: undefined, blocking: true };
    await a.publish('orders.x', 'before');
    const { replay } = await b.link.interest(subscriber, ever);
    const next = async () => {
      const { done, value } = await replay!.next();
      if (done === true) throw new Error('it has ended');
      return decoder.decode(value.payload);
    };
    const first = next();
    await a.publish('others', 'not for it');
    await a.publish('orders.x', '1');
    expect(await first).toBe('1');
    await Promise.all(numbers(2, 300).map((each) => a.publish('orders.x', each)));
    for (let index = 2; index <= 150; index++) expect(await next()).toBe(String(index));
    await nats.server.kill();
    await nats.server.start();
    for (let index = 151; index <= 300; index++) expect(await next()).toBe(String(index));
    const waiting = next();
    await a.publish('orders.y', 'last');
    expect(await waiting).toBe('last');
    // Its consumer is forgotten when it does not read for a minute, or is deleted.
    await administer(nats.server, async ({ consumers }) => {
      for await (const { name } of consumers.list(nats.stream)) {
        await consumers.delete(nats.stream, name);
      }
    });
    await a.publish('orders.y', 'after all');
    expect(await next()).toBe('after all');
    await replay!.return(undefined);
    const refused = await failure(
      b.link.interest({ ...subscriber, pattern: '>' }, ever) as Promise<unknown>,
    );
    expect(refused.code).toBe(Status.FAILED_PRECONDITION);
  });

  test('a group of Subscribe gets each event once, over all processes', async () => {
    const [a, b] = [node(), node()];
    const seen = await Promise.all(
      [a, b].map(async (each) => {
        const { topics } = await each.link.interest(
          { pattern: 'orders.>', group: 'workers', start: undefined, blocking: false },
          ever,
        );
        return each.topics(topics);
      }),
    );
    for (let index = 0; index < 200; index++) await a.publish('orders.x', String(index));
    await a.publish('ticks.x', 'not for them');
    const total = () => seen.reduce((sum, { events }) => sum + events.length, 0);
    while (total() < 200)
      await Promise.race(seen.map((each) => each.reaches(each.events.length + 1)));
    const texts = seen.flatMap(({ events }) => events.map(({ text }) => Number(text)));
    expect(texts.sort((x, y) => x - y)).toEqual(range(0, 200));
    for (const { events } of seen) expect(events.length).toBeGreaterThan(20);
  });

  test('a durable group shares its events, redelivers what is rejected, and remembers', async () => {
    const [a, b] = [node(), node()];
    for (let index = 1; index <= 10; index++) await a.publish('orders', String(index));
    const [one, two] = [await a.consume('billing'), await b.consume('billing')];
    one.membership.request(4);
    await one.reaches(4);
    two.membership.request(100);
    await two.reaches(6);
    expect(one.texts).toEqual(['1', '2', '3', '4']);
    expect(two.texts).toEqual(['5', '6', '7', '8', '9', '10']);
    // Not two's, and unknown.
    expect(two.membership.acknowledge(1n)).toBe(false);
    expect(two.membership.acknowledge(99n)).toBe(false);
    expect(one.membership.acknowledge(1n)).toBe(true);
    expect(one.membership.acknowledge(1n)).toBe(false);
    expect(one.membership.reject(2n)).toBe(true);
    await two.reaches(7);
    expect(two.deliveries[6]).toMatchObject({ text: '2', sequence: 2n, attempt: 2 });
    // What a member leaves behind goes to the others at once.
    one.membership.leave();
    await two.reaches(9);
    expect(two.deliveries.slice(7)).toMatchObject([
      { text: '3', attempt: 2 },
      { text: '4', attempt: 2 },
    ]);
    for (const { sequence } of two.deliveries) two.membership.acknowledge(sequence);
    two.membership.leave();
    // Through the same connection: behind the end of what two had asked for.
    await b.publish('orders', '11');
    const three = await b.consume('billing');
    three.membership.request(10);
    expect((await three.reaches(1))[0]).toMatchObject({ text: '11', attempt: 1 });
    expect(three.deliveries).toHaveLength(1);
  });

  test('what is not acknowledged in time is delivered again', async () => {
    const a = node();
    await a.publish('orders', 'x');
    const consumer = await a.consume('billing', { ackWaitMs: 1000 });
    consumer.membership.request(10);
    await consumer.reaches(2);
    expect(consumer.deliveries).toMatchObject([{ attempt: 1 }, { attempt: 2 }]);
    expect(consumer.membership.acknowledge(1n)).toBe(true);
  });

  test('after the last delivery an event becomes a dead letter, once', async () => {
    const a = node();
    await a.publish('orders.x', 'poison');
    const consumer = await a.consume('billing', {
      pattern: 'orders.>',
      maxDeliveries: 2,
      deadLetterTopic: 'dead.orders',
    });
    const dead = await a.consume('undertaker', { pattern: 'dead.>' });
    dead.membership.request(10);
    consumer.membership.request(10);
    await consumer.reaches(1);
    consumer.membership.reject(1n);
    await consumer.reaches(2);
    consumer.membership.reject(1n);
    const [letter] = await dead.reaches(1);
    expect(letter).toMatchObject({ text: 'poison', topic: 'dead.orders', attempt: 1 });
    expect(Object.fromEntries(letter!.attributes)).toEqual({
      'dead-letter-topic': 'orders.x',
      'dead-letter-sequence': '1',
      'dead-letter-group': 'billing',
      'dead-letter-attempts': '2',
    });
    // The credit of what was not delivered is still there.
    await a.publish('orders.y', 'good');
    await consumer.reaches(3);
    expect(consumer.deliveries.map(({ text, attempt }) => [text, attempt])).toEqual([
      ['poison', 1],
      ['poison', 2],
      ['good', 1],
    ]);
    expect(a.link.stats()).toMatchObject({ deadLetters: 1, givenUp: 0 });
  });

  test('a group keeps its pattern and its time to acknowledge', async () => {
    const a = node();
    await a.consume('billing', { pattern: 'orders.>' });
    const pattern = await failure(a.consume('billing', { pattern: 'other.>' }));
    expect(pattern.code).toBe(Status.FAILED_PRECONDITION);
    expect(pattern.message).toContain('exists with the pattern orders.>');
    const wait = await failure(a.consume('billing', { pattern: 'orders.>', ackWaitMs: 1000 }));
    expect(wait.message).toContain('exists with 30 s');
  });

  test('NATS restarts: publishers wait, subscribers go on from their last sequence', async () => {
    const [a, b] = [node(), node()];
    const seen = await b.subscribe();
    await a.publish('orders', '0');
    await seen.reaches(1);
    await nats.server.kill();
    await a.log.has('NATS is not connected');
    await b.log.has('NATS is not connected');
    const waiting = [1, 2, 3].map((index) => a.publish('orders', String(index), `id ${index}`));
    await nats.server.start();
    expect((await Promise.all(waiting)).map(({ sequence }) => sequence)).toEqual([2n, 3n, 4n]);
    expect((await seen.reaches(4)).map(({ text }) => text)).toEqual(['0', '1', '2', '3']);
    expect(b.link.stats()).toMatchObject({ sessions: 2, feedResumed: 1, feedMissed: 0 });
    // The window for duplicates has outlived it.
    expect(await a.publish('orders', '3', 'id 3')).toMatchObject({ sequence: 4n, duplicate: true });
  });

  test('NATS is killed under load: acknowledged publications are kept, once and in order', async () => {
    const [a, b] = [node(), node()];
    const seen = await b.subscribe();
    let stop = false;
    const sequences: bigint[] = [];
    const publisher = (async () => {
      for (let index = 0; !stop; index += 50) {
        const batch = Array.from({ length: 50 }, (_, offset) =>
          a.publish('orders', String(index + offset), `id ${index + offset}`),
        );
        for (const { sequence } of await Promise.all(batch)) sequences.push(sequence);
      }
    })();
    for (let kills = 0; kills < 3; kills++) {
      await seen.reaches(seen.events.length + 500);
      await nats.server.kill();
      await nats.server.start();
    }
    stop = true;
    await publisher;
    const events = await seen.reaches(sequences.length);
    expect(events.map(({ text }) => Number(text))).toEqual(sequences.map((_, index) => index));
    expect(events.map(({ sequence }) => sequence)).toEqual(sequences);
  });

  test('without a message id a publisher is told that the outcome is unknown', async () => {
    const a = node();
    await a.publish('orders', '0');
    await nats.server.freeze();
    const unanswered = failure(a.publish('orders', '1'));
    const known = a.publish('orders', '2', 'id 2');
    await setImmediate();
    await nats.server.kill();
    const error = await unanswered;
    expect(error.code).toBe(Status.UNAVAILABLE);
    expect(error.message).toContain('unknown whether the event was published');
    expect(error.detail(RetryInfo)).toBeDefined();
    await nats.server.start();
    await known;
  });

  test('a member keeps what it holds when NATS is killed, and acknowledges it afterwards', async () => {
    const a = node();
    for (let index = 1; index <= 20; index++) await a.publish('orders', String(index));
    const consumer = await a.consume('billing');
    consumer.membership.request(10);
    await consumer.reaches(10);
    for (const { sequence } of consumer.deliveries.slice(0, 5)) {
      consumer.membership.acknowledge(sequence);
    }
    await nats.server.kill();
    await a.log.has('NATS is not connected');
    for (const { sequence } of consumer.deliveries.slice(5)) {
      consumer.membership.acknowledge(sequence);
    }
    await nats.server.start();
    consumer.membership.request(100);
    await consumer.reaches(20);
    expect(consumer.texts).toEqual(numbers(1, 20));
    for (const { sequence } of consumer.deliveries.slice(10)) {
      expect(consumer.membership.acknowledge(sequence)).toBe(true);
    }
    // Nothing is left, neither for it nor for another member.
    consumer.membership.leave();
    await administer(nats.server, ({ consumers }) =>
      eventually(
        'everything is acknowledged in NATS',
        () => consumers.info(nats.stream, 'group_billing'),
        ({ num_ack_pending, ack_floor }) => num_ack_pending === 0 && ack_floor.stream_seq === 20,
      ),
    );
    const other = await a.consume('billing');
    other.membership.request(10);
    await a.publish('orders', 'last');
    expect((await other.reaches(1))[0]).toMatchObject({ text: 'last', attempt: 1 });
  });

  test('what is acknowledged while NATS is away reaches it, however long that was', async () => {
    const a = node();
    for (let index = 1; index <= 5; index++) await a.publish('orders', String(index));
    const consumer = await a.consume('billing');
    consumer.membership.request(5);
    await consumer.reaches(5);
    await nats.server.shutDown();
    await a.log.has('NATS is not connected');
    for (const { sequence } of consumer.deliveries) consumer.membership.acknowledge(sequence);
    const now = performance.now.bind(performance);
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + 10_000);
    try {
      await nats.server.start();
      // Not by being delivered again: nobody asks for that, and it would take 30 s.
      await administer(nats.server, ({ consumers }) =>
        eventually(
          'everything is acknowledged in NATS',
          () => consumers.info(nats.stream, 'group_billing'),
          ({ num_ack_pending, ack_floor }) => num_ack_pending === 0 && ack_floor.stream_seq === 5,
        ),
      );
    } finally {
      clock.mockRestore();
    }
  });

  test('a member of a group that exists need not know what is kept', async () => {
    const a = node();
    await a.publish('orders', '1');
    const first = await a.consume('billing', { start: { sequence: 1n } });
    first.membership.request(1);
    await first.reaches(1);
    first.membership.acknowledge(1n);
    first.membership.leave();
    await administer(nats.server, ({ streams }) => streams.purge(nats.stream));
    await a.publish('orders', '2');
    const again = await a.consume('billing', { start: { sequence: 1n } });
    again.membership.request(1);
    expect(await again.reaches(1)).toMatchObject([{ text: '2', attempt: 1 }]);
    const another = await failure(a.consume('other', { start: { sequence: 1n } }));
    expect(another.code).toBe(Status.OUT_OF_RANGE);
  });

  test('who is slow with the end of a replay gets what has come meanwhile from the stream, too', async () => {
    const a = node();
    for (const text of ['1', '2', '3']) await a.publish('orders', text);
    const { replay, release } = await a.link.interest(
      { pattern: '>', group: '', start: 'earliest', blocking: false },
      ever,
    );
    const first = (await replay!.next()).value as EventInit;
    const texts = [decoder.decode(first.payload)];
    await a.publish('orders', '4');
    const now = performance.now.bind(performance);
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + 10_000);
    try {
      for (;;) {
        const { done, value } = await replay!.next();
        if (done === true) {
          expect(value).toEqual({ sequence: 5n });
          break;
        }
        texts.push(decoder.decode(value.payload));
      }
    } finally {
      clock.mockRestore();
      release();
    }
    expect(texts).toEqual(['1', '2', '3', '4']);
  });

  test('a start beyond what there is', async () => {
    const a = node();
    await a.publish('orders', '1');
    const error = await failure(a.replay('>', { sequence: 3n }));
    expect(error.code).toBe(Status.OUT_OF_RANGE);
    expect(error.message).toContain('start.sequence');
    expect(error.message).toContain('start with 2');
    expect(await a.replay('>', { sequence: 2n })).toEqual({ texts: [], next: { sequence: 2n } });
  });

  test('a group that is deleted in NATS ends its members', async () => {
    const a = node();
    await a.publish('orders', 'x');
    const consumer = await a.consume('billing');
    consumer.membership.request(10);
    await consumer.reaches(1);
    await administer(nats.server, ({ consumers }) =>
      consumers.delete(nats.stream, 'group_billing'),
    );
    await consumer.reaches(2);
    expect(consumer.error?.code).toBe(Status.ABORTED);
    expect(consumer.error?.message).toContain('was deleted in NATS');
    // Joined anew it begins where it is told to, whatever was acknowledged before.
    const again = await a.consume('billing');
    again.membership.request(10);
    expect(await again.reaches(1)).toMatchObject([{ text: 'x', attempt: 1 }]);
  });

  test('a start that is no longer kept', async () => {
    const a = node({ retention: { ageMs: 30_000 } });
    await a.publish('orders', '1');
    await administer(nats.server, ({ streams }) => streams.purge(nats.stream));
    await a.publish('orders', '2');
    const early = await failure(a.replay('>', { sequence: 1n }));
    expect(early.code).toBe(Status.OUT_OF_RANGE);
    expect(early.message).toContain('start with 2');
    const old = await failure(a.replay('>', { time: Date.now() - 60_000 }));
    expect(old.code).toBe(Status.OUT_OF_RANGE);
    expect((await a.replay('>', { sequence: 2n })).texts).toEqual(['2']);
  });
});

describe('what is missing is named', () => {
  afterEach(closeNodes);

  test('NATS is down at start', async () => {
    const a = new Node('127.0.0.1:1', 'space', { waitMs: 300 });
    const error = await failure(a.publish('orders', 'x'));
    expect(error.code).toBe(Status.UNAVAILABLE);
    expect(error.message).toContain('NATS cannot be reached at 127.0.0.1:1: connection refused');
    expect(error.detail(RetryInfo)).toBeDefined();
    const line = await a.log.has('NATS cannot be reached');
    expect(line).toContain('nats-server -js');
    expect((await failure(a.consume('billing'))).code).toBe(Status.UNAVAILABLE);
    expect((await failure(a.subscribe())).code).toBe(Status.UNAVAILABLE);
    // Once, however often it is tried.
    expect(a.log.lines.filter((each) => each.startsWith('error'))).toHaveLength(1);
  });

  test.skipIf(!installed)('a server without JetStream', async () => {
    const server = await NatsServer.start('--no-jetstream');
    try {
      const a = new Node(server, 'space', { waitMs: 500 });
      const error = await failure(a.publish('orders', 'x'));
      expect(error.message).toMatch(
        /nats-server 2\.\d+\.\d+ at .* runs without JetStream: start it with -js/,
      );
    } finally {
      await server.stop();
    }
  });

  test.skipIf(!installed)('a server that asks for a user', async () => {
    const server = await NatsServer.start('--user', 'me', '--pass', 'secret');
    try {
      const a = new Node(server, 'space', { waitMs: 500 });
      expect((await failure(a.publish('orders', 'x'))).message).toMatch(/authoriz/i);
      const b = new Node(server, 'space', { user: 'me', password: 'secret' });
      expect(await b.publish('orders', 'x')).toMatchObject({ sequence: 1n });
    } finally {
      await server.stop();
    }
  });

  test.skipIf(!installed)('a stream that is not what is needed', async () => {
    const server = await NatsServer.start();
    try {
      await administer(server, ({ streams }) =>
        streams.add({
          name: 'MILLRACE_space',
          subjects: ['millrace.space.stored.>'],
          storage: 'memory',
          discard: 'new',
        }),
      );
      const a = new Node(server, 'space', { waitMs: 500 });
      expect((await failure(a.publish('orders', 'x'))).message).toContain(
        'has storage memory, and file is needed',
      );
      const b = new Node(server, 'other', { waitMs: 500, retention: { bytes: 2 ** 50 } });
      expect((await failure(b.publish('orders', 'x'))).message).toMatch(
        /cannot be created: insufficient storage .* lower the option retention/,
      );
    } finally {
      await server.stop();
    }
  });
});
