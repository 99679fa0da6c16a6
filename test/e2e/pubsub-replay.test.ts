// Replay: where a subscription may start, and that it joins what comes without a gap or a repetition.

import { Status } from 'millrace';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { numbers, range } from '../support/numbers.js';
import { take } from '../support/our-client.js';
import {
  type EventMessage,
  messages,
  publish,
  publishAll,
  pubSubClient,
  received,
  refusedSubscription,
  subscribe,
  text,
  texts,
} from '../support/pubsub-client.js';
import { servePubSub } from '../support/pubsub-server.js';

test('from the earliest, a sequence, a time, and the latest', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  await publishAll(client, messages('r.a', range(0, 10)));
  // Times are in milliseconds.
  let now = Date.now();
  const { sequence } = await publish(client, { topic: 'r.other' });
  while (Date.now() <= now + 1) await publish(client, { topic: 'r.other' });
  now = Date.now();
  await publishAll(client, messages('r.a', range(10, 20)));
  const time = { seconds: Math.floor(now / 1000), nanos: (now % 1000) * 1_000_000 };

  const earliest = await subscribe(client, { pattern: 'r.a', start: { earliest: true } });
  const fifth = await subscribe(client, { pattern: 'r.a', start: { sequence: 5 } });
  const other = await subscribe(client, { pattern: 'r.*', start: { sequence } });
  const timed = await subscribe(client, { pattern: 'r.a', start: { time } });
  const latest = await subscribe(client, { pattern: 'r.a', start: { latest: true } });
  await publish(client, { topic: 'r.a', payload: text('20') });

  expect(texts(await earliest.count(21)).map(Number)).toEqual(range(0, 21));
  expect(texts(await fifth.count(17)).map(Number)).toEqual(range(4, 21));
  expect((await other.count(1))[0]).toMatchObject({ sequence, topic: 'r.other' });
  expect(texts(await timed.count(11)).map(Number)).toEqual(range(10, 21));
  expect(texts(await latest.count(1))).toEqual(['20']);
});

test('a replay joins what is published meanwhile, without a gap or a repetition', async () => {
  const server = await servePubSub();
  const total = 20_000;
  const publishing = publishAll(pubSubClient(server), messages('r.a', range(0, total)));
  const client = pubSubClient(server);
  const subscribers = [];
  for (let round = 0; round < 20; round++) {
    subscribers.push(
      await subscribe(client, { pattern: 'r.*', start: { earliest: true }, maxPending: 65_536 }),
    );
  }
  await publishing;
  for (const subscriber of subscribers) {
    const seen = await subscriber.count(total);
    expect(seen.length).toBe(total);
    expect(seen.every(({ sequence }, index) => Number(sequence) === index + 1)).toBe(true);
    expect(seen.every(({ dropped }) => dropped === '0')).toBe(true);
  }
});

test('a slow reader of a long replay gets it all, by the policy only what comes after', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const payload = Buffer.alloc(2000, 'r');
  const messages = range(0, 5000).map(() => ({ topic: 'r.a', payload }));
  await publishAll(client, messages);
  const call = client.subscribe({ pattern: 'r.a', start: { earliest: true }, maxPending: 10 });
  call.read(0);
  await new Promise((resolve) => call.once('metadata', resolve));
  const got = await take(call as AsyncIterable<EventMessage>, 5000);
  expect(got.map(({ sequence }) => sequence)).toEqual(numbers(1, 5000));
  expect(new Set(got.map(({ dropped }) => dropped))).toEqual(new Set(['0']));
});

test('a subscriber resumes where it was', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  await publishAll(client, messages('r.a', range(0, 100)));
  const first = await subscribe(client, { pattern: 'r.a', start: { earliest: true } });
  const seen = (await first.count(50)).slice(0, 50);
  first.call.cancel();
  await publishAll(client, messages('r.a', range(100, 150)));
  const sequence = Number(seen.at(-1)?.sequence) + 1;
  const second = await subscribe(client, { pattern: 'r.a', start: { sequence } });
  expect(texts([...seen, ...(await second.count(100))]).map(Number)).toEqual(range(0, 150));
  // Nothing has been missed: the next sequence is a start, too.
  const third = await subscribe(client, { pattern: 'r.a', start: { sequence: 151 } });
  await publish(client, { topic: 'r.a', payload: text('150') });
  expect(texts(await third.count(1))).toEqual(['150']);
});

test.each([
  ['count', { count: 10 }],
  ['bytes', { bytes: 15_000 }],
] as const)('retention is bounded by %s', async (_bound, retention) => {
  const server = await servePubSub({ retention });
  const client = pubSubClient(server);
  for (let count = 0; count < 100; count++) {
    await publish(client, { topic: 'r.a', payload: Buffer.alloc(1000) });
  }
  const kept = await subscribe(client, { pattern: 'r.a', start: { earliest: true } });
  await publish(client, { topic: 'r.a' });
  const events = await kept.count(2);
  const first = Number(events[0]?.sequence);
  expect(first).toBeGreaterThan(80);
  expect(first).toBeLessThan(101);
  const refused = await refusedSubscription(client, { pattern: 'r.a', start: { sequence: 50 } });
  expect(refused.code).toBe(Status.OUT_OF_RANGE);
  const [stats] = Object.values(server.events.stats().topics);
  expect(stats?.retained).toBeLessThan(20);
  expect(stats?.retainedBytes).toBeLessThan(20_000);
});

test('retention is bounded by age', async () => {
  const server = await servePubSub({ retention: { ageMs: 50 } });
  const client = pubSubClient(server);
  const { sequence } = await publish(client, { topic: 'r.a' });
  const code = await eventually(
    'it is no longer kept',
    async () => {
      const call = client.subscribe({ pattern: 'r.a', start: { sequence } });
      call.once('data', () => call.cancel());
      return (await received(call).status).code;
    },
    (outcome) => outcome !== Status.CANCELLED,
  );
  expect(code).toBe(Status.OUT_OF_RANGE);
});

test('a replay of a transient and a kept topic has what was kept', async () => {
  const server = await servePubSub({ transient: ['r.live'] });
  const client = pubSubClient(server);
  await publish(client, { topic: 'r.live' });
  await publish(client, { topic: 'r.kept' });
  const subscriber = await subscribe(client, { pattern: 'r.*', start: { earliest: true } });
  await publish(client, { topic: 'r.live' });
  expect((await subscriber.count(2)).map(({ topic }) => topic)).toEqual(['r.kept', 'r.live']);
});
