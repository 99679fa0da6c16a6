import { BadRequest, Status, StatusError } from 'millrace';
import { describe, expect, test, vi } from 'vitest';
import { checksOf } from './fakes.test-support.js';
import {
  type PublishRequest,
  SlowConsumer,
  type SubscribeRequest,
} from './gen/millrace/pubsub/v1/pubsub.js';

const checks = checksOf({
  transient: ['metrics.>', 'chat.*'],
  topics: [{ pattern: 'jobs.>', slowConsumer: ['block'] }],
  limits: { payloadBytes: 10, attributeBytes: 8, messageIdBytes: 4, pendingEvents: 500 },
});

const publish = (fields: Partial<PublishRequest>): PublishRequest => ({
  topic: 'a.b',
  payload: new Uint8Array(),
  attributes: new Map(),
  messageId: '',
  ...fields,
});

const subscribe = (fields: Partial<SubscribeRequest>): SubscribeRequest => ({
  pattern: 'a.*',
  group: '',
  slowConsumer: SlowConsumer.SLOW_CONSUMER_UNSPECIFIED,
  maxPending: 0,
  start: undefined,
  ackWait: undefined,
  maxDeliveries: 0,
  deadLetterTopic: '',
  ...fields,
});

/** Code, field and description of a refusal. */
function refused(check: () => unknown) {
  try {
    check();
  } catch (error) {
    if (!StatusError.is(error)) throw error;
    const [violation] = error.detail(BadRequest)?.fieldViolations ?? [];
    expect(error.message).toBe(`${violation?.field}: ${violation?.description}`);
    return [error.code, violation?.field, violation?.description];
  }
  throw new Error('not refused');
}

const { INVALID_ARGUMENT, FAILED_PRECONDITION, RESOURCE_EXHAUSTED } = Status;

describe('publications', () => {
  test('carry when they were published', () => {
    vi.useFakeTimers({ now: 1_700_000_000_250 });
    try {
      const payload = new Uint8Array([1]);
      expect(checks.publication(publish({ payload, messageId: 'm' }))).toEqual({
        event: {
          topic: 'a.b',
          payload,
          publishedAt: { seconds: 1_700_000_000n, nanos: 250_000_000 },
        },
        messageId: 'm',
        transient: false,
      });
    } finally {
      vi.useRealTimers();
    }
  });

  test('know whether their topic is transient, also again', () => {
    for (let again = 0; again < 2; again++) {
      expect(checks.publication(publish({ topic: 'metrics.cpu.0' })).transient).toBe(true);
      expect(checks.publication(publish({ topic: 'chat.a.b' })).transient).toBe(false);
    }
    expect(checks.isTransient('chat.a')).toBe(true);
  });

  test('know whether a subscriber may hold them up', () => {
    for (const topic of ['jobs.a', 'a.b']) {
      const expected = topic === 'jobs.a';
      expect(checks.mayBlock(topic)).toBe(expected);
      checks.publication(publish({ topic }));
      expect(checks.mayBlock(topic)).toBe(expected);
    }
  });

  test('more topics than are remembered', () => {
    for (let count = 0; count < 25_000; count++) {
      const topic = `metrics.${count}`;
      expect(checks.publication(publish({ topic })).transient).toBe(true);
    }
  });

  test.each([
    [{ topic: '' }, INVALID_ARGUMENT, 'topic', 'the topic is empty'],
    [{ topic: 'a.*' }, INVALID_ARGUMENT, 'topic', 'only patterns may have'],
    [{ topic: '$SYS.a' }, INVALID_ARGUMENT, 'topic', 'begins with $'],
    [
      { payload: new Uint8Array(11) },
      RESOURCE_EXHAUSTED,
      'payload',
      '11 bytes, more than 10; split it',
    ],
    [{ attributes: new Map([['name', 'value']]) }, RESOURCE_EXHAUSTED, 'attributes', '9 bytes'],
    [{ messageId: '12345' }, INVALID_ARGUMENT, 'message_id', '5 bytes, more than 4'],
  ])('%o', (fields, code, field, said) => {
    const found = refused(() => checks.publication(publish(fields)));
    expect(found).toEqual([code, field, expect.stringContaining(said)]);
  });
});

describe('subscriptions', () => {
  test('have defaults', () => {
    expect(checks.subscription(subscribe({}))).toEqual({
      pattern: 'a.*',
      group: '',
      slowConsumer: 'drop-oldest',
      maxPending: 256,
      start: undefined,
    });
  });

  test.each([
    [{ case: 'sequence', value: 7n }, { sequence: 7n }],
    [{ case: 'time', value: { seconds: 5n, nanos: 6_000_000 } }, { time: 5006 }],
    [{ case: 'earliest', value: true }, 'earliest'],
    [{ case: 'latest', value: true }, 'latest'],
  ] as const)('start at %o', (at, start) => {
    expect(checks.subscription(subscribe({ start: { at } })).start).toEqual(start);
  });

  test('a pattern that also matches kept topics may have a start', () => {
    const start = { at: { case: 'earliest', value: true } } as const;
    expect(checks.subscription(subscribe({ pattern: 'chat.>', start })).start).toBe('earliest');
  });

  test.each([
    [{ pattern: 'a.>.b' }, INVALID_ARGUMENT, 'pattern', 'token 2 of the pattern is >'],
    [{ group: 'a.b' }, INVALID_ARGUMENT, 'group', 'letters, digits'],
    [{ maxPending: 501 }, INVALID_ARGUMENT, 'max_pending', '501 is more than 500'],
    [
      { slowConsumer: SlowConsumer.SLOW_CONSUMER_BLOCK },
      FAILED_PRECONDITION,
      'slow_consumer',
      'BLOCK is not allowed for the topics that a.* matches: take DROP_OLDEST or DISCONNECT',
    ],
    [
      { pattern: 'jobs.a', slowConsumer: SlowConsumer.SLOW_CONSUMER_DISCONNECT },
      FAILED_PRECONDITION,
      'slow_consumer',
      'take BLOCK',
    ],
    [{ maxDeliveries: 1 }, INVALID_ARGUMENT, 'max_deliveries', 'use Consume'],
    [{ deadLetterTopic: 'd' }, INVALID_ARGUMENT, 'dead_letter_topic', 'use Consume'],
    [{ ackWait: { seconds: 1n, nanos: 0 } }, INVALID_ARGUMENT, 'ack_wait', 'use Consume'],
    [
      { pattern: 'metrics.*', start: { at: { case: 'earliest', value: true } } },
      FAILED_PRECONDITION,
      'start',
      'transient',
    ],
    [
      { start: { at: { case: 'sequence', value: 0n } } },
      INVALID_ARGUMENT,
      'start.sequence',
      'begin with 1',
    ],
    [
      { start: { at: { case: 'latest', value: false } } },
      INVALID_ARGUMENT,
      'start.latest',
      'false',
    ],
    [
      { start: { at: { case: 'time', value: { seconds: -1n, nanos: 0 } } } },
      INVALID_ARGUMENT,
      'start.time',
      'before 1970',
    ],
    [
      { start: { at: { case: 'time', value: { seconds: 253_402_300_800n, nanos: 0 } } } },
      INVALID_ARGUMENT,
      'start.time',
      'after the year 9999',
    ],
  ] as [Partial<SubscribeRequest>, Status, string, string][])('%o', (fields, code, field, said) => {
    const found = refused(() => checks.subscription(subscribe(fields)));
    expect(found).toEqual([code, field, expect.stringContaining(said)]);
  });
});

describe('consumers', () => {
  test('take what they ask for', () => {
    const asked = subscribe({
      group: 'g',
      maxPending: 5,
      ackWait: { seconds: 0n, nanos: 1_500_000 },
      maxDeliveries: 3,
      deadLetterTopic: 'dead',
    });
    expect(checks.consumption(asked)).toMatchObject({
      credit: 5,
      ackWaitMs: 2,
      maxDeliveries: 3,
      deadLetterTopic: 'dead',
    });
  });

  test.each([
    [{ pattern: 'chat.a' }, FAILED_PRECONDITION, 'pattern', 'use Subscribe'],
    [{ ackWait: { seconds: 0n, nanos: 0 } }, INVALID_ARGUMENT, 'ack_wait', '0 ms is not from 1 ms'],
    [{ ackWait: { seconds: 86_401n, nanos: 0 } }, INVALID_ARGUMENT, 'ack_wait', 'to 24 h'],
    [{ deadLetterTopic: 'd.*' }, INVALID_ARGUMENT, 'dead_letter_topic', 'only patterns'],
    [{ deadLetterTopic: 'a.dead' }, INVALID_ARGUMENT, 'dead_letter_topic', 'come back for ever'],
  ] as [Partial<SubscribeRequest>, Status, string, string][])('%o', (fields, code, field, said) => {
    const found = refused(() => checks.consumption(subscribe({ group: 'g', ...fields })));
    expect(found).toEqual([code, field, expect.stringContaining(said)]);
  });

  test('more groups than there may be', () => {
    const few = checksOf({ limits: { groups: 2 } });
    // Those of requests that are refused for something else do not count.
    for (const group of ['x', 'y']) {
      refused(() =>
        few.consumption(subscribe({ group, start: { at: { case: 'sequence', value: 0n } } })),
      );
    }
    for (const group of ['a', 'b', 'a']) few.consumption(subscribe({ group }));
    const found = refused(() => few.consumption(subscribe({ group: 'c' })));
    expect(found).toEqual([RESOURCE_EXHAUSTED, 'group', expect.stringContaining('limits.groups')]);
  });
});
