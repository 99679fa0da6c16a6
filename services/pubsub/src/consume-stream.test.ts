import { Status, StatusError } from 'millrace';
import { expect, test } from 'vitest';
import { Consuming } from './consuming.js';
import { checksOf, FakeLink, FakeWriter, fakeContext, settled } from './fakes.test-support.js';
import type {
  ConsumeRequest,
  EventInit,
  SubscribeRequest,
} from './gen/millrace/pubsub/v1/pubsub.js';
import { zeroCounters } from './stats.js';

function begun(creditMost = 1000) {
  const link = new FakeLink();
  const counters = zeroCounters();
  const consuming = new Consuming(link, checksOf(), counters, creditMost);
  const writer = new FakeWriter<EventInit>();
  const context = fakeContext();
  const stream = consuming.open(context.ctx, writer);
  writer.closed = () => stream.closed();
  return { link, counters, consuming, writer, stream, context };
}

function open(fields: Partial<SubscribeRequest> = {}): ConsumeRequest {
  const value = {
    pattern: 'jobs.*',
    group: 'workers',
    slowConsumer: 0,
    maxPending: 0,
    start: undefined,
    ackWait: undefined,
    maxDeliveries: 0,
    deadLetterTopic: '',
    ...fields,
  };
  return { kind: { case: 'open', value } };
}

const ack = (value: bigint): ConsumeRequest => ({ kind: { case: 'ack', value } });
const nack = (value: bigint): ConsumeRequest => ({ kind: { case: 'nack', value } });
const credit = (value: number): ConsumeRequest => ({ kind: { case: 'credit', value } });
const event = (bytes = 1): EventInit => ({ topic: 'jobs.a', payload: new Uint8Array(bytes) });
const sum = (counts: readonly number[]) => counts.reduce((all, count) => all + count, 0);

test('joins with the defaults, and its headers say so', async () => {
  const { link, stream, context } = begun();
  const joining = stream.message(open());
  expect(context.headersSent()).toBe(false);
  await joining;
  expect(context.headersSent()).toBe(true);
  expect(link.options).toEqual({
    pattern: 'jobs.*',
    group: 'workers',
    start: undefined,
    ackWaitMs: 30_000,
    maxDeliveries: 0,
    deadLetterTopic: '',
    maxUnacknowledged: 65_536,
  });
});

test('never asks for more than its credit, and adds to it', async () => {
  const { link, writer, stream } = begun();
  await stream.message(open({ maxPending: 3 }));
  let sequence = 0n;
  const deliver = () => {
    for (let asked = 0; sequence < sum(link.requests); asked++) {
      link.member?.deliver(event(), ++sequence, 1);
      expect(asked).toBeLessThan(100);
    }
  };
  deliver();
  expect(writer.written).toHaveLength(3);
  void stream.message(credit(2));
  deliver();
  expect(writer.written).toHaveLength(5);
  expect(writer.written[4]).toMatchObject({ sequence: 5n, deliveryAttempt: 1, topic: 'jobs.a' });
});

test('asks for few large events at a time, and for none while the peer does not read', async () => {
  const { link, writer, stream } = begun();
  await stream.message(open({ maxPending: 200 }));
  writer.room = 1;
  link.member?.deliver(event(100_000), 1n, 1);
  const asked = sum(link.requests);
  expect(asked).toBeLessThan(3);
  writer.makeRoom(1000);
  await settled();
  expect(sum(link.requests) - asked).toBe(1);
  // Small again: more at a time.
  link.member?.deliver(event(), 2n, 1);
  expect(link.requests.at(-1)).toBeGreaterThan(10);
});

test('what was asked for and comes while the peer does not read waits', async () => {
  const { link, writer, stream } = begun();
  await stream.message(open({ maxPending: 4 }));
  link.member?.deliver(event(), 1n, 1);
  writer.room = 1;
  for (let sequence = 2n; sequence <= 4n; sequence++) link.member?.deliver(event(), sequence, 1);
  expect(writer.written).toHaveLength(2);
  writer.makeRoom(1);
  await settled();
  expect(writer.written).toHaveLength(3);
  writer.makeRoom(5);
  await settled();
  expect(writer.written.map(({ sequence }) => sequence)).toEqual([1n, 2n, 3n, 4n]);
});

test('acknowledges what it was given', async () => {
  const { link, stream, counters, context } = begun();
  await stream.message(open());
  link.owned.add(1n).add(2n);
  link.member?.deliver(event(), 1n, 1);
  link.member?.deliver(event(), 2n, 3);
  void stream.message(ack(1n));
  void stream.message(nack(2n));
  expect(link.owned.size).toBe(0);
  expect(counters).toMatchObject({
    deliveries: 2,
    redeliveries: 1,
    acknowledged: 1,
    rejected: 1,
    unknownAcknowledgements: 0,
  });
  expect(context.warnings).toEqual([]);
});

test('an unknown acknowledgement is logged and counted, and the stream stays', async () => {
  const { writer, stream, counters, context } = begun();
  await stream.message(open());
  for (let sequence = 1n; sequence <= 1500n; sequence++) {
    void stream.message(sequence % 2n === 0n ? ack(sequence) : nack(sequence));
  }
  expect(counters.unknownAcknowledgements).toBe(1500);
  expect(context.warnings).toMatchObject([
    { field: 'nack', sequence: 1n, status: 'INVALID_ARGUMENT', group: 'workers' },
    { count: 1001 },
  ]);
  expect(writer.error).toBeUndefined();
});

test.each([
  [
    'an ack before open',
    [ack(1n)],
    Status.FAILED_PRECONDITION,
    'ack: the first message has to be open',
  ],
  ['credit before open', [credit(1)], Status.FAILED_PRECONDITION, 'credit: the first message'],
  [
    'a second open',
    [open(), open()],
    Status.FAILED_PRECONDITION,
    'open: this stream is open already',
  ],
  ['nothing', [{ kind: undefined }], Status.INVALID_ARGUMENT, 'kind: the message says nothing'],
  [
    'no group',
    [open({ group: '' })],
    Status.INVALID_ARGUMENT,
    'group: Consume needs the durable name',
  ],
  [
    'a policy',
    [open({ slowConsumer: 2 })],
    Status.INVALID_ARGUMENT,
    'slow_consumer: Consume has no',
  ],
  ['too much credit', [open(), credit(1000)], Status.RESOURCE_EXHAUSTED, 'credit: 1256 events'],
])('%s is refused', async (_what, messages, code, said) => {
  const { stream } = begun();
  const all = async () => {
    for (const message of messages) await stream.message(message as ConsumeRequest);
  };
  await expect(all()).rejects.toMatchObject({ code, message: expect.stringContaining(said) });
});

test('leaves its group once, whatever ends it', async () => {
  const ends: ((of: ReturnType<typeof begun>) => void)[] = [
    ({ stream }) => stream.end(),
    ({ stream }) => stream.closed(),
    ({ consuming }) => consuming.stop(new StatusError(Status.UNAVAILABLE)),
  ];
  for (const end of ends) {
    const given = begun();
    await given.stream.message(open());
    end(given);
    given.stream.closed();
    expect(given.link.left).toBe(1);
    given.link.member?.deliver(event(), 1n, 1);
    expect(given.writer.written).toEqual([]);
  }
});

test('a consumer that goes while it joins leaves when it has', async () => {
  const { link, stream, context } = begun();
  const joining = stream.message(open());
  stream.closed();
  await joining;
  expect(link.left).toBe(1);
  expect(context.headersSent()).toBe(false);
});

test('a backplane that cannot go on ends the call', async () => {
  const { link, writer, stream } = begun();
  await stream.message(open());
  link.member?.failed(new StatusError(Status.UNAVAILABLE, 'the broker has gone'));
  expect(writer.error).toMatchObject({ code: Status.UNAVAILABLE });
  expect(link.left).toBe(0);
});
