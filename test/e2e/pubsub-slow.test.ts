// Slow subscribers: what each policy does to them, to publishers and to their neighbours.

import { Status } from 'millrace';
import { settled } from 'millrace/testing';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { patience } from '../support/patience.js';
import {
  type EventMessage,
  type PubSubClient,
  publish,
  publishAll,
  pubSubClient,
  received,
  type SubscribeMessage,
  subscribe,
} from '../support/pubsub-client.js';
import { servePubSub } from '../support/pubsub-server.js';

const PAYLOAD = Buffer.alloc(1024, 'p');
const MANY = 5000;

/** Subscribes and does not read; everything waits for `received(call)`, but for the status. */
async function neverReads(client: PubSubClient, request: SubscribeMessage) {
  const call = client.subscribe(request);
  const status = new Promise<{ code: number; details: string }>((resolve) => {
    // Where it ends with the test, nobody asks.
    call.on('error', (error) => resolve(error as Error & { code: number; details: string }));
  });
  // A client that has never asked for a message buffers all of them; this one asks, and takes none.
  call.read(0);
  await new Promise((resolve) => call.once('metadata', resolve));
  return { call, status };
}

function* events(topic: string, count: number) {
  for (let index = 0; index < count; index++) yield { topic, payload: PAYLOAD };
}

const droppedOf = (list: readonly EventMessage[]) =>
  list.reduce((sum, { dropped }) => sum + Number(dropped), 0);

/** Sequences increase, and each gap is what `dropped` says. */
function expectGapsToBeCounted(list: readonly EventMessage[], first: number) {
  let next = first;
  for (const { sequence, dropped } of list) {
    next += Number(dropped);
    expect(Number(sequence)).toBe(next);
    next++;
  }
}

test.each(['SLOW_CONSUMER_DROP_OLDEST', 'SLOW_CONSUMER_DROP_NEWEST'] as const)(
  '%s: what is lost is counted, and nobody else notices',
  async (slowConsumer) => {
    const server = await servePubSub({
      topics: [{ pattern: 'a', slowConsumer: ['drop-oldest', 'drop-newest'] }],
    });
    const client = pubSubClient(server);
    const slow = await neverReads(pubSubClient(server), {
      pattern: 'a',
      slowConsumer,
      maxPending: 10,
    });
    const healthy = await subscribe(pubSubClient(server), { pattern: 'a', maxPending: 65_536 });
    const replies = await publishAll(client, events('a', MANY));
    expect(replies.length).toBe(MANY);
    await healthy.count(MANY);
    expect(droppedOf(healthy.list)).toBe(0);

    const late = received(slow.call);
    // Behind what had waited; it says what was lost before it under DROP_NEWEST.
    await eventually(
      'what waited is read',
      () => late.list.length,
      (length) => length >= 10,
    );
    const last = await eventually(
      'one more, that is not dropped',
      async () => {
        const { sequence } = await publish(client, { topic: 'a', payload: PAYLOAD });
        return { sequence, seen: late.list.at(-1)?.sequence };
      },
      ({ seen }) => Number(seen) > MANY,
    );
    expect(Number(last.sequence)).toBeGreaterThan(MANY);
    expectGapsToBeCounted(late.list, 1);
    expect(droppedOf(late.list)).toBeGreaterThan(MANY / 2);
    if (slowConsumer === 'SLOW_CONSUMER_DROP_OLDEST') {
      // The ten newest of the burst were there.
      const sequences = late.list.map(({ sequence }) => Number(sequence));
      for (let sequence = MANY - 9; sequence <= MANY; sequence++) {
        expect(sequences).toContain(sequence);
      }
    }
    const [stats] = Object.values(server.events.stats().topics);
    expect(stats?.dropped).toBe(droppedOf(late.list));
  },
);

test('DISCONNECT: the subscription ends, and says why', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const slow = await neverReads(pubSubClient(server), {
    pattern: 'a',
    slowConsumer: 'SLOW_CONSUMER_DISCONNECT',
    maxPending: 10,
  });
  const healthy = await subscribe(pubSubClient(server), { pattern: 'a', maxPending: 65_536 });
  await publishAll(client, events('a', MANY));
  await healthy.count(MANY);
  const late = received(slow.call);
  expect(await slow.status).toMatchObject({
    code: Status.RESOURCE_EXHAUSTED,
    details: expect.stringMatching(/10 events.*disconnect/),
  });
  expectGapsToBeCounted(late.list, 1);
  expect(droppedOf(late.list)).toBe(0);
  const [stats] = Object.values(server.events.stats().topics);
  expect(stats).toMatchObject({ disconnected: 1, subscriptions: 1 });
});

test('BLOCK: publishers of the topic wait, those of others do not, and nothing is lost', async () => {
  const server = await servePubSub({ topics: [{ pattern: 'jobs.*', slowConsumer: ['block'] }] });
  const slow = await neverReads(pubSubClient(server), { pattern: 'jobs.*', maxPending: 10 });
  const publishing = pubSubClient(server).publishStream();
  const replies = received(publishing);
  for (const event of events('jobs.a', MANY)) publishing.write(event);
  publishing.end();
  // Held up: what its connection takes, and what may wait.
  const held = await eventually(
    'the publisher is held up',
    () => server.events.stats().publicationsBlocked,
    (blocked) => blocked > 0,
  );
  expect(held).toBe(1);
  // Until the slow one's connection takes no more, and the replies are here.
  const quiet = { quietMs: patience(300), timeoutMs: patience(10_000) };
  const before = await settled(() => server.events.stats().published, quiet);
  await replies.count(before);
  expect(before).toBeLessThan(MANY / 2);
  const others = await publishAll(pubSubClient(server), events('other', MANY));
  expect(others.length).toBe(MANY);
  expect(replies.list.length).toBe(before);

  const late = received(slow.call);
  await replies.ended;
  expect(replies.list.length).toBe(MANY);
  const seen = await late.count(MANY);
  expect(droppedOf(seen)).toBe(0);
  expect(seen.map(({ sequence }) => sequence)).toEqual(
    replies.list.map(({ sequence }) => sequence),
  );
  const [stats] = Object.values(server.events.stats().topics);
  expect(stats).toMatchObject({ dropped: 0, disconnected: 0 });
});

test('BLOCK: who does not read within the time is cut off, and publishers go on', async () => {
  const server = await servePubSub({
    topics: [{ pattern: 'jobs.*', slowConsumer: ['block'] }],
    blockTimeoutMs: 2000,
  });
  const slow = await neverReads(pubSubClient(server), { pattern: 'jobs.a', maxPending: 10 });
  const healthy = await subscribe(pubSubClient(server), { pattern: 'jobs.a', maxPending: 65_536 });
  const replies = await publishAll(pubSubClient(server), events('jobs.a', MANY));
  expect(replies.length).toBe(MANY);
  const seen = await healthy.count(MANY);
  expect(droppedOf(seen)).toBe(0);
  expect(await slow.status).toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
  const [stats] = Object.values(server.events.stats().topics);
  expect(stats).toMatchObject({ disconnected: 1, dropped: 0 });
  expect(stats?.blockedMs).toBeGreaterThan(1300);
});

test('BLOCK: a unary publisher waits by its deadline, and publishes nothing after it', async () => {
  const server = await servePubSub({ topics: [{ pattern: 'jobs.*', slowConsumer: ['block'] }] });
  const client = pubSubClient(server);
  const slow = await neverReads(pubSubClient(server), { pattern: 'jobs.a', maxPending: 1 });
  // The first call takes longest: it connects.
  const { sequence: first } = await publish(client, { topic: 'other' });
  let failure: unknown;
  let published = 0;
  while (failure === undefined && published < MANY) {
    await publish(client, { topic: 'jobs.a', payload: PAYLOAD }, 2000).then(
      () => published++,
      (error: unknown) => {
        failure = error;
      },
    );
  }
  expect(failure).toMatchObject({ code: Status.DEADLINE_EXCEEDED });
  await eventually(
    'the server has given it up, too',
    () => server.events.stats().publicationsFailed,
    (failed) => failed === 1,
  );
  const late = received(slow.call);
  await late.count(published);
  const { sequence } = await publish(client, { topic: 'jobs.a' });
  expect(Number(sequence)).toBe(Number(first) + published + 1);
});

test('a subscriber that dies in the middle of an event leaves its neighbours alone', async () => {
  const server = await servePubSub();
  const dying = pubSubClient(server);
  const { call } = await neverReads(dying, { pattern: 'a' });
  const healthy = await subscribe(pubSubClient(server), { pattern: 'a' });
  const client = pubSubClient(server);
  const payload = Buffer.alloc(900_000, 'x');
  await publish(client, { topic: 'a', payload });
  await healthy.count(1);
  call.cancel();
  dying.close();
  for (let count = 0; count < 5; count++) await publish(client, { topic: 'a', payload });
  const seen = await healthy.count(6);
  expect(seen.every((event) => Buffer.compare(event.payload, payload) === 0)).toBe(true);
  const [stats] = Object.values(server.events.stats().topics);
  expect(stats).toMatchObject({ subscriptions: 1, dropped: 0 });
});
