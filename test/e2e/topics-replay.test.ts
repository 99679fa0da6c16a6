// A subscription that starts in the past gets what is retained and then what is published: each event once.

import { Event } from '@millrace/pubsub';
import {
  type Start,
  Status,
  type StatusError,
  type SubscribeOptions,
  type TopicsOptions,
  topics,
} from 'millrace';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { range } from '../support/numbers.js';
import { statusOf, take } from '../support/our-client.js';
import {
  eventsOf,
  numberOf,
  payloadOf,
  rawSubscriber,
  subscriber,
  topicsServer,
  uniqueName,
} from '../support/topics.js';

/** The next subscription starts as `how` says. */
async function replaying(
  how: { start?: Start } & SubscribeOptions,
  retention: NonNullable<TopicsOptions['retention']> = {},
) {
  const options = { dropped: 'dropped', sequence: 'sequence', retention };
  const made = await topicsServer(how, options);
  return { ...made, client: subscriber(made.server) };
}

describe.each([
  ['the earliest', 'earliest', 0],
  ['a sequence', { sequence: 101n }, 100],
  ['the next sequence', { sequence: 201n }, 200],
  ['long ago', { time: 0 }, 0],
] as const)('from %s', (_what, start, first) => {
  test('the past comes first, and then what is published, without gap or repetition', async () => {
    const { publish, client } = await replaying({ start });
    for (const number of range(0, 200))
      expect(publish('a', number).sequence).toBe(BigInt(number + 1));
    const stream = client.subscribe({ pattern: 'a' });
    // While it replays, more is published, turn by turn.
    const published = (async () => {
      for (const number of range(200, 1000)) {
        publish('a', number);
        publish('b', number);
        if (number % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const got = await take(stream, 1000 - first);
    await published;
    expect(got.map(numberOf)).toEqual(range(first, 1000));
    const sequences = got.map(({ sequence }) => sequence);
    expect(sequences).toEqual([...new Set(sequences)].toSorted((a, b) => (a < b ? -1 : 1)));
  });
});

test('a replay passes by many events of other topics', async () => {
  const { publish, client } = await replaying({ start: 'earliest' }, { count: 100_000 });
  for (const number of range(0, 30_000)) publish(number % 10_000 === 0 ? 'a' : 'b', number);
  const got = await take(client.subscribe({ pattern: 'a' }), 3);
  expect(got.map(numberOf)).toEqual([0, 10_000, 20_000]);
});

test('a start that is gone or not there yet is OUT_OF_RANGE, and names the first', async () => {
  const { events, publish, client } = await replaying({ start: { sequence: 5n } }, { count: 10 });
  for (const number of range(0, 100)) publish('a', number);
  const error = await statusOf(take(client.subscribe({ pattern: 'a' }), 1));
  expect(error.code).toBe(Status.OUT_OF_RANGE);
  expect(error.message).toContain('91');
  expect(() => events.subscribe('a', { start: { sequence: 200n } })).toThrow(/start/);
  expect(events.stats().subscriptions).toBe(0);
});

test('without a retention there is no start; and none in a queue group', async () => {
  const events = topics(Event, { name: uniqueName('replay') });
  const code = (options: SubscribeOptions) => {
    try {
      events.subscribe('a', options);
    } catch (error) {
      return (error as StatusError).code;
    }
    return undefined;
  };
  expect(code({ start: 'earliest' })).toBe(Status.FAILED_PRECONDITION);
  expect(code({ start: 'latest' })).toBeUndefined();
  expect(code({ start: 'earliest', group: 'g' })).toBe(Status.INVALID_ARGUMENT);
  expect(code({ start: { time: -1 } })).toBe(Status.INVALID_ARGUMENT);
});

async function slow(
  how: SubscribeOptions,
  retention: NonNullable<TopicsOptions['retention']>,
  step = 1n,
) {
  const made = await replaying({ start: 'earliest', ...how }, retention);
  for (const number of range(0, 100)) {
    const sequence = BigInt(number + 1) * step;
    made.events.publish('a', { topic: 'a', payload: payloadOf(number, 1000) }, { sequence });
  }
  return { ...made, ...(await rawSubscriber(made.server, 'a', 100)) };
}

test('what a slow replay has not read is not lost while it is retained', async () => {
  const { publish, peer, stream, events } = await slow({ maxPending: 4 }, { count: 1000 });
  for (const number of range(100, 400)) publish('a', number, 1000);
  await peer.ping();
  peer.credit(stream.id, 1_000_000);
  await stream.receivedMessages(400);
  expect(eventsOf(stream).map(numberOf)).toEqual(range(0, 400));
  expect(events.stats().dropped).toBe(0);
});

test('a replay that the retention overtakes counts what it missed', async () => {
  const { publish, peer, stream } = await slow({ maxPending: 4 }, { count: 100 });
  await peer.ping();
  for (const number of range(100, 400)) publish('a', number, 1000);
  peer.credit(stream.id, 1_000_000);
  await eventually('the last is here', async () => {
    await peer.ping();
    const last = eventsOf(stream).at(-1);
    return last !== undefined && numberOf(last) === 399;
  });
  let next = 0;
  for (const event of eventsOf(stream)) {
    next += Number(event.dropped);
    expect(numberOf(event)).toBe(next++);
  }
  expect(next).toBe(400);
});

test('who must not lose anything is cut off then', async () => {
  const { publish, peer, stream } = await slow(
    { slowConsumer: 'block', maxPending: 4 },
    { count: 100 },
  );
  await peer.ping();
  for (const number of range(100, 400)) publish('a', number, 1000);
  peer.credit(stream.id, 1_000_000);
  const { code, message } = await stream.end;
  expect(code).toBe(Status.RESOURCE_EXHAUSTED);
  expect(message).toContain('retention');
});

test('events of other topics that the retention evicts meanwhile are not counted', async () => {
  const { publish, peer, stream } = await slow({ maxPending: 4 }, { count: 150 });
  await peer.ping();
  // Of what the replay has not read, a third is of its topic.
  for (const number of range(100, 400)) publish(number % 3 === 0 ? 'a' : 'b', number, 1000);
  peer.credit(stream.id, 1_000_000);
  await eventually('the last is here', async () => {
    await peer.ping();
    const last = eventsOf(stream).at(-1);
    return last !== undefined && numberOf(last) === 399;
  });
  const got = eventsOf(stream);
  const dropped = got.reduce((sum, event) => sum + Number(event.dropped), 0);
  expect(dropped).toBeGreaterThan(0);
  expect(got.length + dropped).toBe(100 + 100);
});

test('what comes late, behind what a replay has read, is not lost to it', async () => {
  const { events, peer, stream } = await slow({ maxPending: 4 }, { count: 1000 }, 10n);
  await peer.ping();
  // 10 is on its way and 20 to 40 are read; 995 is before the last.
  for (const sequence of [15n, 5n, 995n]) {
    events.publish('a', { topic: 'a', payload: new Uint8Array(4) }, { sequence });
  }
  events.publish('a', { topic: 'a', payload: new Uint8Array(4) });
  peer.credit(stream.id, 1_000_000);
  await stream.receivedMessages(104);
  const got = eventsOf(stream).map((event) => Number(event.sequence));
  expect(got.slice(0, 4)).toEqual([10, 20, 30, 40]);
  expect(got.toSorted((one, other) => one - other)).toEqual([
    5,
    10,
    15,
    ...range(2, 100).map((number) => number * 10),
    995,
    1000,
    1001,
  ]);
});
