// What pub/sub refuses: the status, the field and the remedy, for each way to get it wrong.

import { PubSub, SlowConsumer } from '@millrace/pubsub';
import { BadRequest, connect, connection, ErrorInfo, Status, StatusError } from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { all, statusOf } from '../support/our-client.js';
import {
  consume,
  publish,
  pubSubClient,
  refusedSubscription,
  subscribe,
} from '../support/pubsub-client.js';
import { servePubSub, subscriptionsLeft } from '../support/pubsub-server.js';

const { INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE, RESOURCE_EXHAUSTED } = Status;

async function served() {
  const server = await servePubSub({
    transient: ['metrics.>'],
    retention: { count: 5 },
    limits: { payloadBytes: 1000, topicBytes: 40, pendingEvents: 1000 },
  });
  const made = connection(`127.0.0.1:${server.port}`);
  onTestFinished(() => made.close(1000));
  return { server, client: connect(PubSub, made) };
}

type Case = readonly [
  what: string,
  request: never,
  code: Status,
  field: string,
  said: string | RegExp,
];

/** A text that has these words, or matches. */
const saying = (said: string | RegExp) =>
  typeof said === 'string' ? expect.stringContaining(said) : expect.stringMatching(said);

const publications = [
  ['an empty topic', { topic: '' }, INVALID_ARGUMENT, 'topic', 'is empty'],
  [
    'an empty token',
    { topic: 'a..b' },
    INVALID_ARGUMENT,
    'topic',
    'separate tokens by single dots',
  ],
  ['a pattern', { topic: 'a.*' }, INVALID_ARGUMENT, 'topic', 'only patterns may have'],
  ['a reserved topic', { topic: '$JS.API' }, INVALID_ARGUMENT, 'topic', 'choose another name'],
  ['a long topic', { topic: 'a'.repeat(41) }, INVALID_ARGUMENT, 'topic', 'limits.topicBytes'],
  [
    'a payload over the limit',
    { topic: 'a', payload: new Uint8Array(1001) },
    RESOURCE_EXHAUSTED,
    'payload',
    'split it, or raise limits.payloadBytes',
  ],
  [
    'a long identifier',
    { topic: 'a', messageId: 'm'.repeat(129) },
    INVALID_ARGUMENT,
    'message_id',
    '129 bytes',
  ],
] as unknown as readonly Case[];

const subscriptions = [
  ['an empty pattern', { pattern: '' }, INVALID_ARGUMENT, 'pattern', 'is empty'],
  ['> before the end', { pattern: 'a.>.b' }, INVALID_ARGUMENT, 'pattern', 'use * for one token'],
  ['* in a token', { pattern: 'a.b*' }, INVALID_ARGUMENT, 'pattern', 'a token of its own'],
  ['a reserved pattern', { pattern: '$SYS.>' }, INVALID_ARGUMENT, 'pattern', 'begins with $'],
  [
    'a policy that is not allowed',
    { pattern: 'a', slowConsumer: SlowConsumer.SLOW_CONSUMER_BLOCK },
    FAILED_PRECONDITION,
    'slow_consumer',
    'take DROP_OLDEST or DISCONNECT',
  ],
  [
    'a policy that there is none of',
    { pattern: 'a', slowConsumer: 77 },
    INVALID_ARGUMENT,
    'slow_consumer',
    'one of',
  ],
  [
    'too much pending',
    { pattern: 'a', maxPending: 1001 },
    INVALID_ARGUMENT,
    'max_pending',
    'ask for less',
  ],
  [
    'an illegal group',
    { pattern: 'a', group: 'a b' },
    INVALID_ARGUMENT,
    'group',
    'letters, digits',
  ],
  [
    'a start on transient topics',
    { pattern: 'metrics.*', start: { at: { case: 'earliest', value: true } } },
    FAILED_PRECONDITION,
    'start',
    'leave start out',
  ],
  [
    'a sequence that retention has dropped',
    { pattern: 'a', start: { at: { case: 'sequence', value: 2n } } },
    OUT_OF_RANGE,
    'start',
    /\b6\b/,
  ],
  [
    'a sequence that has never been',
    { pattern: 'a', start: { at: { case: 'sequence', value: 1000n } } },
    OUT_OF_RANGE,
    'start',
    'beyond the next one, 11',
  ],
  [
    'acknowledgements',
    { pattern: 'a', maxDeliveries: 2 },
    INVALID_ARGUMENT,
    'max_deliveries',
    'use Consume',
  ],
] as unknown as readonly Case[];

test.each(publications)('Publish: %s', async (_what, request, code, field, said) => {
  const { client, server } = await served();
  const error = await statusOf(client.publish(request));
  expect(error).toMatchObject({ code, message: saying(said) });
  expect(error.detail(BadRequest)?.fieldViolations).toEqual([
    { field, description: saying(said), reason: '', localizedMessage: undefined },
  ]);
  expect(server.events.stats()).toMatchObject({ published: 0, publicationsFailed: 1 });
  // The independent client is told the same.
  const theirs = publish(pubSubClient(server), request);
  await expect(theirs).rejects.toMatchObject({ code, details: error.message });
});

test.each(publications)('PublishStream: %s', async (_what, request, code, field, said) => {
  const { client, server } = await served();
  const stream = client.publishStream();
  for (let count = 0; count < 3; count++) stream.write({ topic: 'fine' });
  stream.write(request);
  stream.write({ topic: 'too.late' });
  stream.end();
  const replies: bigint[] = [];
  const reading = async () => {
    for await (const { sequence } of stream) replies.push(sequence);
  };
  const error = await statusOf(reading());
  expect(replies).toEqual([1n, 2n, 3n]);
  expect(error).toMatchObject({ code, message: saying(said) });
  expect(error.detail(BadRequest)?.fieldViolations).toMatchObject([
    { field: `requests[3].${field}` },
  ]);
  expect(error.detail(ErrorInfo)?.metadata.get('index')).toBe('3');
  expect(server.events.stats()).toMatchObject({ published: 3, publicationsFailed: 1 });
});

test.each(subscriptions)('Subscribe: %s', async (_what, request, code, field, said) => {
  const { client, server } = await served();
  for (let count = 0; count < 10; count++) await client.publish({ topic: 'a' });
  const error = await statusOf(all(client.subscribe(request)));
  expect(error).toMatchObject({ code, message: saying(said) });
  expect(error.detail(BadRequest)?.fieldViolations[0]?.field).toMatch(new RegExp(`^${field}`));
  expect(server.events.stats()).toMatchObject({ subscriptionsRefused: 1 });
});

test('Subscribe: the independent client is told so, too', async () => {
  const { server } = await served();
  const client = pubSubClient(server);
  expect(await refusedSubscription(client, { pattern: 'a..b' })).toMatchObject({
    code: INVALID_ARGUMENT,
    details: 'pattern: token 2 of the pattern is empty; separate tokens by single dots',
  });
  expect(
    await refusedSubscription(client, { pattern: 'a', slowConsumer: 'SLOW_CONSUMER_BLOCK' }),
  ).toMatchObject({ code: FAILED_PRECONDITION });
});

test.each([
  [
    'an ack before open',
    [{ ack: 1 }],
    FAILED_PRECONDITION,
    'ack: the first message has to be open',
  ],
  [
    'a second open',
    [{ open: { pattern: 'a', group: 'g' } }, { open: { pattern: 'a', group: 'g' } }],
    FAILED_PRECONDITION,
    'open: this stream is open already',
  ],
  ['no group', [{ open: { pattern: 'a' } }], INVALID_ARGUMENT, 'group: Consume needs'],
  [
    'transient topics',
    [{ open: { pattern: 'metrics.*', group: 'g' } }],
    FAILED_PRECONDITION,
    'use Subscribe',
  ],
  [
    'an illegal pattern',
    [{ open: { pattern: '', group: 'g' } }],
    INVALID_ARGUMENT,
    'pattern: the pattern is empty',
  ],
  [
    'a policy',
    [{ open: { pattern: 'a', group: 'g', slowConsumer: 2 } }],
    INVALID_ARGUMENT,
    'slow_consumer: Consume',
  ],
  [
    'dead letters that come back',
    [{ open: { pattern: 'a.>', group: 'g', deadLetterTopic: 'a.b' } }],
    INVALID_ARGUMENT,
    'dead_letter_topic: a.> matches it',
  ],
  [
    'too much credit',
    [{ open: { pattern: 'a', group: 'g' } }, { credit: 70_000 }],
    RESOURCE_EXHAUSTED,
    'credit: 70256 events',
  ],
  ['nothing', [{}], INVALID_ARGUMENT, 'kind: the message says nothing'],
] as const)('Consume: %s', async (_what, messages, code, said) => {
  const { server } = await served();
  const consumer = consume(pubSubClient(server), ...messages);
  expect(await consumer.status).toMatchObject({ code, details: expect.stringContaining(said) });
});

test('too many subscriptions', async () => {
  const server = await servePubSub({ limits: { subscriptions: 2 } });
  const client = pubSubClient(server);
  const first = await subscribe(client, { pattern: 'a' });
  await subscribe(client, { pattern: 'a' });
  const third = await refusedSubscription(client, { pattern: 'a' });
  expect(third).toMatchObject({ code: RESOURCE_EXHAUSTED });
  // Room again, once one has gone.
  first.call.cancel();
  await first.status;
  await subscriptionsLeft(server, 1);
  await subscribe(client, { pattern: 'a' });
  const fifth = await refusedSubscription(client, { pattern: 'a' });
  expect(fifth).toMatchObject({ code: RESOURCE_EXHAUSTED });
});

test('an error of our own is a StatusError', async () => {
  const { client } = await served();
  expect(StatusError.is(await statusOf(client.publish({ topic: '' })))).toBe(true);
});
