import { Status } from 'millrace';
import { expect, test } from 'vitest';
import { SlowConsumer } from './gen/millrace/pubsub/v1/pubsub.js';
import { Policies } from './policies.js';

const {
  SLOW_CONSUMER_UNSPECIFIED: UNSPECIFIED,
  SLOW_CONSUMER_BLOCK: BLOCK,
  SLOW_CONSUMER_DROP_OLDEST: DROP_OLDEST,
  SLOW_CONSUMER_DROP_NEWEST: DROP_NEWEST,
  SLOW_CONSUMER_DISCONNECT: DISCONNECT,
} = SlowConsumer;

const policies = new Policies([
  { pattern: 'jobs.*', slowConsumer: ['block', 'disconnect'] },
  { pattern: 'prices.>', slowConsumer: ['drop-newest', 'drop-oldest'] },
]);

test.each([
  ['chat.a', UNSPECIFIED, 'drop-oldest'],
  ['chat.a', DISCONNECT, 'disconnect'],
  ['jobs.a', UNSPECIFIED, 'block'],
  ['jobs.*', BLOCK, 'block'],
  ['prices.>', UNSPECIFIED, 'drop-newest'],
  ['prices.a.b', DROP_OLDEST, 'drop-oldest'],
  // Common to the rule and to what holds elsewhere.
  ['jobs.>', UNSPECIFIED, 'disconnect'],
  ['*.a.b', UNSPECIFIED, 'drop-oldest'],
])('%s, policy %i: %s', (pattern, asked, expected) => {
  expect(policies.choose(pattern, asked)).toBe(expected);
});

test.each([
  [
    'chat.a',
    BLOCK,
    'BLOCK is not allowed for the topics that chat.a matches: take DROP_OLDEST or DISCONNECT',
  ],
  ['jobs.>', BLOCK, 'take DISCONNECT'],
  ['jobs.a', DROP_NEWEST, 'take BLOCK or DISCONNECT'],
  ['>', DROP_OLDEST, 'none in common'],
  ['>', UNSPECIFIED, 'no policy in common; subscribe to them one by one'],
])('%s, policy %i: %s', (pattern, asked, said) => {
  expect(() => policies.choose(pattern, asked)).toThrow(
    expect.objectContaining({
      code: Status.FAILED_PRECONDITION,
      message: expect.stringContaining(said),
    }),
  );
});

test('a policy that there is none of', () => {
  expect(() => policies.choose('a', 9)).toThrow(
    expect.objectContaining({
      code: Status.INVALID_ARGUMENT,
      message: expect.stringContaining('slow_consumer: there is no policy 9; take one of BLOCK'),
    }),
  );
});
