import { expect, test } from 'vitest';
import { checkOptions, type PubSubOptions } from './options.js';

test('everything has a default', () => {
  expect(checkOptions({})).toEqual({
    backplane: undefined,
    space: 'default',
    topics: [],
    transient: [],
    retention: { count: 100_000, bytes: 64 * 1024 * 1024, ageMs: 3_600_000 },
    blockTimeoutMs: 30_000,
    duplicateWindowMs: 120_000,
    limits: expect.objectContaining({
      payloadBytes: 1024 * 1024,
      topicBytes: 256,
      messageIds: 1_000_000,
    }),
  });
});

test('what is given is kept', () => {
  const given = {
    space: 'shop',
    topics: [{ pattern: 'jobs.>', slowConsumer: ['block'] }],
    transient: ['metrics.>'],
    retention: { count: 5 },
    blockTimeoutMs: 1000,
    limits: { payloadBytes: 10 },
  } as const;
  expect(checkOptions(given)).toMatchObject(given);
});

test.each([
  [{ topic: [] }, 'pubSub() has no topic; it has backplane, space, topics'],
  [{ space: 'a.b' }, 'space is "a.b", but has to be 1 to 64 letters'],
  [{ backplane: {} }, 'backplane is {}, but has to be what memory() or nats() returned'],
  [{ topics: {} }, 'topics is {}, but has to be an array'],
  [{ topics: [{ pattern: 'a..b', slowConsumer: ['block'] }] }, 'topics[0].pattern is "a..b"'],
  [{ topics: [{ pattern: 'a', slowConsumer: [] }] }, 'one policy at least'],
  [{ topics: [{ pattern: 'a', slowConsumer: ['drop'] }] }, 'topics[0].slowConsumer[0] is "drop"'],
  [{ transient: ['>.a'] }, 'transient[0] is ">.a", but has to be a pattern or topic: token 1'],
  [{ retention: { count: 0 } }, 'retention.count is 0, but has to be an integer from 1'],
  [{ retention: { age: 1 } }, 'pubSub() has no retention.age; it has count, bytes, ageMs'],
  [{ retention: 5 }, 'retention is 5'],
  [{ blockTimeoutMs: 1.5 }, 'blockTimeoutMs is 1.5, but has to be an integer'],
  [{ limits: { payloadBytes: -1 } }, 'limits.payloadBytes is -1'],
  [
    { limits: { messageIds: 2 ** 30 } },
    'limits.messageIds is 1073741824, but has to be an integer',
  ],
  [
    { retention: {}, backplane: { name: 'nats', ownRetention: true, open: () => {} } },
    'has the backplane nats, which has bounds of its own: leave retention out, and give nats({',
  ],
])('%j is refused', (given, said) => {
  expect(() => checkOptions(given as unknown as PubSubOptions)).toThrow(said);
  expect(() => checkOptions(given as unknown as PubSubOptions)).toThrow('MILLRACE_OPTION_INVALID');
});
