// Events that are not retained are published together when the tick ends. Nobody may notice that.

import { Event } from '@millrace/pubsub';
import { topics } from 'millrace';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { range } from '../support/numbers.js';
import { take } from '../support/our-client.js';
import {
  eventsOf,
  numberOf,
  payloadOf,
  rawSubscriber,
  subscriber,
  topicsServer,
  uniqueName,
} from '../support/topics.js';

const MANY = 2_000;
const RETENTION = { count: 10_000, bytes: 1 << 30, ageMs: 3_600_000 };

/** One attribute, whose value is made when it is read. */
function attributes(value: () => string): Map<string, string> {
  return new (class extends Map<string, string> {
    override *[Symbol.iterator](): MapIterator<[string, string]> {
      yield ['late', value()];
    }
  })();
}

test('a tick publishes more than the memory takes, of any size and to many topics', async () => {
  const { server, events, publish } = await topicsServer({ maxPending: 2 * MANY });
  const stream = subscriber(server).subscribe({ pattern: 'a.*' });
  await stream.headers;
  const expected: [string, number, number][] = [];
  for (let number = 0; number < MANY; number++) {
    const topic = `a.${(number >> 2) % 7}`;
    // Most are small; one outgrows what is left, one the whole memory.
    const bytes = number % 500 === 99 ? 100_000 : number % 100 === 50 ? 30_000 : 4 + (number % 300);
    expect(publish(topic, number, bytes)).toEqual({ sequence: 0n, delivered: 1 });
    expected.push([topic, number, bytes]);
  }
  expect(events.stats().published).toBe(MANY);
  expect(
    (await take(stream, MANY)).map((event) => [event.topic, numberOf(event), event.payload.length]),
  ).toEqual(expected);
});

test('an event that cannot be encoded leaves nothing of itself', async () => {
  const { server, events, publish } = await topicsServer();
  const stream = subscriber(server).subscribe({ pattern: '>' });
  await stream.headers;
  for (let number = 0; number < 10; number++) {
    publish('a', number);
    const payload = payloadOf(99);
    expect(() => events.publish('a', { payload, sequence: 'one' as never })).toThrow();
    expect(() => events.publish('a', { payload: new Uint8Array(5_000_000) })).toThrow('4194304');
  }
  expect((await take(stream, 10)).map(numberOf)).toEqual(range(0, 10));
  expect(events.stats().published).toBe(10);
});

test('what is retained, what is not, and what others publish under the name keep their order', async () => {
  const name = uniqueName('order');
  const options = { name, dropped: 'dropped', sequence: 'sequence', retention: RETENTION } as const;
  const { server, events } = await topicsServer({ maxPending: 2 * MANY }, options);
  const others = topics(Event, options);
  const stream = subscriber(server).subscribe({ pattern: '>' });
  await stream.headers;
  let sequence = 0n;
  for (let number = 0; number < MANY; number++) {
    const retain = number % 3 === 0;
    const by = number % 5 === 0 ? others : events;
    const published = by.publish('a', { payload: payloadOf(number) }, { retain });
    if (retain) sequence++;
    expect(published).toEqual({ sequence: retain ? sequence : 0n, delivered: 1 });
  }
  const got = await take(stream, MANY);
  expect(got.map(numberOf)).toEqual(range(0, MANY));
  expect(got.map((event) => event.sequence > 0n)).toEqual(
    range(0, MANY).map((number) => number % 3 === 0),
  );
});

test('who has come or gone counts for the next event, within a tick as well', async () => {
  const { server, publish, emptied } = await topicsServer();
  const client = subscriber(server);
  expect(publish('a', 0).delivered).toBe(0);
  const first = client.subscribe({ pattern: 'a' });
  await first.headers;
  expect(publish('a', 1).delivered).toBe(1);
  const second = client.subscribe({ pattern: '*' });
  await second.headers;
  expect(publish('a', 2).delivered).toBe(2);
  second.cancel();
  await eventually('the second has gone', () => publish('b', 3).delivered === 0);
  expect(publish('a', 4).delivered).toBe(1);
  first.cancel();
  await emptied();
  expect(publish('a', 5).delivered).toBe(0);
});

test('under block a publisher that asks is told to wait in the middle of a tick, on any topic', async () => {
  const { server, events, publish } = await topicsServer({ slowConsumer: 'block', maxPending: 10 });
  // Nothing leaves.
  const { peer, stream } = await rawSubscriber(server, 'slow.>', 0);
  let number = 0;
  while (events.writable(`slow.${number % 4}`) === true) publish(`slow.${number % 4}`, number++);
  expect(number).toBe(10);
  for (let other = 0; other < 100; other++) {
    expect(events.writable(`fast.${other}`)).toBe(true);
    publish(`fast.${other}`, other);
  }
  const wait = events.writable('slow.9');
  expect(wait).not.toBe(true);
  peer.credit(stream.id, 1_000_000);
  await wait;
  // Across ticks: it never has more than ten that wait.
  for (; number < 200; number++) {
    for (let may = events.writable('slow.a'); may !== true; may = events.writable('slow.a')) {
      await may;
    }
    publish('slow.a', number);
  }
  await stream.receivedMessages(200);
  expect(eventsOf(stream).map(numberOf)).toEqual(range(0, 200));
  expect(events.stats()).toMatchObject({ dropped: 0, disconnected: 0 });
});

test('what a getter publishes comes before its own event, and neither is spoilt', async () => {
  const name = uniqueName('getters');
  const options = { name, dropped: 'dropped', sequence: 'sequence', retention: RETENTION } as const;
  const { server, events } = await topicsServer({ maxPending: 2 * MANY }, options);
  const others = topics(Event, options);
  const stream = subscriber(server).subscribe({ pattern: '>' });
  await stream.headers;
  const elsewhere = topics(Event, { name: uniqueName('elsewhere') });
  let number = 0;
  const event = (bytes: number) => ({ payload: payloadOf(number++, bytes) });
  const nested: (() => void)[] = [
    () => events.publish('b', event(10), { retain: false }),
    () => events.publish('b', event(10)),
    () => events.publish('b', event(200_000), { retain: false }),
    () => others.publish('b', event(10), { retain: false }),
    () => others.publish('b', event(10)),
    () => expect(events.stats().subscriptions).toBe(1),
    () => elsewhere.publish('b', {}),
    () => expect(events.writable('c')).toBe(true),
  ];
  for (let round = 0; round < 400; round++) {
    const act = nested[round % nested.length]!;
    const bytes = round % 13 === 0 ? 100_000 : 4 + (round % 200);
    const retain = (round & 16) !== 0;
    if (round % 3 === 0) events.publish('a', event(20), { retain: false });
    const early = (round & 32) !== 0;
    const outer = {
      topic: `outer ${round}`,
      get payload() {
        if (early) act();
        return early ? event(bytes).payload : new Uint8Array(bytes);
      },
      // Read when most of the message is encoded.
      attributes: attributes(() => {
        if (!early) act();
        return early ? '' : String(number++);
      }),
    };
    events.publish('a', outer, { retain });
  }
  for (const [index, got] of (await take(stream, number)).entries()) {
    const late = got.attributes.get('late') || undefined;
    expect(late === undefined ? numberOf(got) : Number(late)).toBe(index);
    expect(got.attributes.has('late')).toBe(got.topic !== '');
  }
});

test('a getter that publishes to more topics than are kept found leaves its own where it is', async () => {
  const { server, events, publish } = await topicsServer({}, { limits: { topics: 2 } });
  const stream = subscriber(server).subscribe({ pattern: 'a' });
  await stream.headers;
  const outer = {
    get payload() {
      for (let topic = 0; topic < 5; topic++) publish(`b.${topic}`, 100 + topic);
      return payloadOf(1);
    },
  };
  expect(events.publish('a', outer).delivered).toBe(1);
  expect((await take(stream, 1)).map(numberOf)).toEqual([1]);
});
