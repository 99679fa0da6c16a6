// Durable groups: every event goes to one member, until one has acknowledged it.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { Event } from '@millrace/pubsub';
import {
  type DurableMember,
  type DurableOptions,
  joinDurableGroup,
  Status,
  StatusError,
  type Topics,
  type TopicsLimits,
  topics,
} from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { range } from '../support/numbers.js';
import { uniqueName } from '../support/topics.js';

type Events = Topics<Event, Parameters<typeof Event.encode>[0]>;

function retained(count = 100_000, limits: TopicsLimits = {}): Events {
  return topics(Event, {
    name: uniqueName('durable'),
    sequence: 'sequence',
    retention: { count },
    limits,
  });
}

interface Consumer extends DurableMember {
  /** What was delivered: sequence and attempt. */
  readonly got: [number, number][];
  /** Resolves when so many deliveries have come. */
  has(count: number): Promise<void>;
}

/** A member that notes what it gets. */
function consumer(
  events: Events,
  options: Partial<DurableOptions<Event>> & { group?: string } = {},
): Consumer {
  const got: [number, number][] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const { group = 'workers', ...rest } = options;
  const member = joinDurableGroup(events, group, {
    pattern: '>',
    start: 'earliest',
    ackWaitMs: 60_000,
    maxDeliveries: 0,
    maxUnacknowledged: 1000,
    deliver(event, sequence, attempt) {
      expect(event.sequence).toBe(sequence);
      got.push([Number(sequence), attempt]);
      for (const { count, resolve } of waiting) if (got.length >= count) resolve();
    },
    ...rest,
  });
  onTestFinished(() => member.leave());
  return {
    ...member,
    got,
    has: (count) =>
      new Promise((resolve) => {
        if (got.length >= count) resolve();
        else waiting.push({ count, resolve });
      }),
  };
}

function publish(events: Events, count: number, topic = 'jobs.new'): void {
  for (const number of range(0, count)) {
    events.publish(topic, { topic, payload: new Uint8Array([number % 256]) });
  }
}

test('a member alone gets every event once, in order, before and after it joins', async () => {
  const events = retained();
  publish(events, 1000);
  const member = consumer(events);
  member.request(3000);
  publish(events, 1000);
  for (const half of [1000, 2000]) {
    await member.has(half);
    for (const number of range(half - 1000, half)) {
      expect(member.acknowledge(BigInt(number + 1))).toBe(true);
    }
  }
  expect(member.got).toEqual(range(1, 2001).map((sequence) => [sequence, 1]));
});

test('it gets what it requested and may hold, no more', async () => {
  const events = retained();
  publish(events, 100);
  const member = consumer(events, { maxUnacknowledged: 5 });
  member.request(3);
  await member.has(3);
  member.request(50);
  await member.has(5);
  // Others' turns at the loop would bring a sixth.
  for (const _ of range(0, 5)) await new Promise(setImmediate);
  expect(member.got.length).toBe(5);
  for (const sequence of [2n, 4n]) expect(member.acknowledge(sequence)).toBe(true);
  await member.has(7);
  expect(member.got.slice(5)).toEqual([
    [6, 1],
    [7, 1],
  ]);
});

test('members share the events; each event is acknowledged by who has it', async () => {
  const events = retained();
  const members = range(0, 4).map(() => consumer(events));
  for (const member of members) member.request(1000);
  publish(events, 400);
  await eventually(
    'all were delivered',
    () => members.reduce((sum, { got }) => sum + got.length, 0),
    (sum) => sum === 400,
  );
  for (const member of members) {
    const sequences = member.got.map(([sequence]) => sequence);
    expect(sequences.length).toBeGreaterThan(0);
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
    const [others] = members.filter((each) => each !== member);
    expect(others!.acknowledge(BigInt(sequences[0]!))).toBe(false);
    for (const sequence of sequences) expect(member.acknowledge(BigInt(sequence))).toBe(true);
    expect(member.acknowledge(BigInt(sequences[0]!))).toBe(false);
  }
});

test('what is rejected, or held by who leaves, comes again at once', async () => {
  const events = retained();
  publish(events, 3);
  const first = consumer(events);
  first.request(3);
  await first.has(3);
  const second = consumer(events);
  second.request(10);
  expect(first.reject(2n)).toBe(true);
  expect(first.reject(2n)).toBe(false);
  await second.has(1);
  expect(first.acknowledge(3n)).toBe(true);
  first.leave();
  await second.has(2);
  expect(second.got).toEqual([
    [2, 2],
    [1, 2],
  ]);
  expect(first.acknowledge(1n)).toBe(false);
});

test('what is not acknowledged in time comes again, and is dead after the last delivery', async () => {
  const events = retained();
  publish(events, 2);
  const dead: [bigint, number][] = [];
  const member = consumer(events, {
    ackWaitMs: 20,
    maxDeliveries: 3,
    deadLetter: (event, sequence, attempts) => {
      expect(event.topic).toBe('jobs.new');
      dead.push([sequence, attempts]);
    },
  });
  member.request(100);
  await member.has(1);
  expect(member.acknowledge(1n)).toBe(true);
  await eventually('it is dead', () => dead.length > 0);
  expect(dead).toEqual([[2n, 3]]);
  expect(member.got).toEqual([
    [1, 1],
    [2, 1],
    [2, 2],
    [2, 3],
  ]);
});

test('dead letters of a member that leaves are its last word', async () => {
  const events = retained();
  publish(events, 2);
  const dead: bigint[] = [];
  const member = consumer(events, {
    maxDeliveries: 1,
    deadLetter: (_, sequence) => dead.push(sequence),
  });
  member.request(2);
  await member.has(2);
  member.leave();
  expect(dead).toEqual([1n, 2n]);
});

test('a group goes on where it was, with nobody in it meanwhile', async () => {
  const events = retained();
  publish(events, 3);
  const first = consumer(events);
  first.request(2);
  await first.has(2);
  first.acknowledge(1n);
  first.leave();
  publish(events, 1);
  const second = consumer(events, { start: 'latest' });
  second.request(10);
  await second.has(3);
  expect(second.got).toEqual([
    [2, 2],
    [3, 1],
    [4, 1],
  ]);
  const other = consumer(events, { group: 'others', start: { sequence: 3n } });
  other.request(10);
  await other.has(2);
  expect(other.got.map(([sequence]) => sequence)).toEqual([3, 4]);
});

test('only the topics of the pattern, of which a group has one', async () => {
  const events = retained();
  const member = consumer(events, { pattern: 'jobs.*' });
  member.request(10);
  publish(events, 2, 'other');
  publish(events, 2);
  await member.has(2);
  expect(member.got.map(([sequence]) => sequence)).toEqual([3, 4]);
  expect(codeOf(() => consumer(events, { pattern: '>' }))).toBe(Status.FAILED_PRECONDITION);
});

test('what cannot be is refused with its reason', () => {
  const events = retained(2);
  publish(events, 5);
  expect(codeOf(() => consumer(events, { start: { sequence: 1n } }))).toBe(Status.OUT_OF_RANGE);
  expect(codeOf(() => consumer(events, { pattern: 'a..b' }))).toBe(Status.INVALID_ARGUMENT);
  expect(codeOf(() => consumer(events, { group: '' }))).toBe(Status.INVALID_ARGUMENT);
  for (const wrong of [
    { ackWaitMs: 0 },
    { ackWaitMs: 2 ** 32 },
    { maxDeliveries: -1 },
    { maxUnacknowledged: 0 },
    { start: { time: Number.NaN } },
  ]) {
    expect(() => consumer(events, wrong)).toThrow(Object.keys(wrong)[0]);
  }
  expect(() => consumer(events, { start: 'latest' }).request(0.5)).toThrow('count');
  const forgetful = topics(Event, { name: uniqueName('durable') });
  expect(codeOf(() => consumer(forgetful))).toBe(Status.FAILED_PRECONDITION);
});

test('members on other threads are of the same group, and leave with their thread', async () => {
  const events = retained();
  const member = consumer(events);
  const worker = new Worker(new URL('../dist/server/durable-worker.js', import.meta.url), {
    workerData: { name: events.name, group: 'workers' },
  });
  onTestFinished(async () => {
    await worker.terminate();
  });
  await once(worker, 'message');
  const theirs: number[] = [];
  worker.on('message', (sequence: number) => theirs.push(sequence));
  publish(events, 3);
  await eventually('the other thread got what this one did not ask for', () => theirs.length === 3);
  // What it publishes is for this one, too.
  member.request(100);
  worker.postMessage('publish');
  await member.has(1);
  expect(member.got).toEqual([[4, 1]]);
  await worker.terminate();
  await member.has(4);
  expect(member.got.slice(1)).toEqual([
    [1, 2],
    [2, 2],
    [3, 2],
  ]);
});

function codeOf(attempt: () => unknown): Status | undefined {
  try {
    attempt();
  } catch (error) {
    expect(error).toBeInstanceOf(StatusError);
    return (error as StatusError).code;
  }
  return undefined;
}

test('a group that acknowledges nothing holds no more bytes than it may, and goes on when it does', async () => {
  const bytes = 10_000;
  const events = retained(1000, { unacknowledgedBytes: 10 * bytes });
  for (const _ of range(0, 100)) {
    events.publish('jobs.new', { topic: 'jobs.new', payload: new Uint8Array(bytes - 100) });
  }
  const member = consumer(events);
  member.request(200);
  await member.has(10);
  // Had more been given, it would have been before what is published now was looked at.
  publish(events, 1);
  await new Promise((resolve) => setImmediate(resolve));
  expect(member.got).toHaveLength(10);
  expect(events.stats()).toMatchObject({ unacknowledged: 10, heldBack: 1, retained: 101 });
  expect(events.stats().unacknowledgedBytes).toBeGreaterThan(9 * bytes);
  expect(events.stats().unacknowledgedBytes).toBeLessThanOrEqual(10 * bytes);
  // Another group has half of it, though the first has all.
  const other = consumer(events, { group: 'other' });
  other.request(100);
  await other.has(5);
  let next = 0n;
  while (member.got.length < 101) {
    expect(member.acknowledge(++next)).toBe(true);
    if (next > 4n) await member.has(Math.min(101, Number(next) + 5));
  }
  expect(member.got).toEqual(range(1, 102).map((sequence) => [sequence, 1]));
  expect(other.got).toHaveLength(5);
});
