// Consume: at least once, by acknowledgement, also where consumers are killed.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Status } from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { range } from '../support/numbers.js';
import {
  consume,
  type EventMessage,
  messages,
  publish,
  publishAll,
  pubSubClient,
  subscribe,
  text,
  texts,
} from '../support/pubsub-client.js';
import { servePubSub } from '../support/pubsub-server.js';
import { random, seedForTest } from '../support/seed.js';
import { startServer } from '../support/server.js';

const milliseconds = (ms: number) => ({ seconds: 0, nanos: ms * 1_000_000 });

test('what is acknowledged is done with, also for who comes back', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const open = { pattern: 'jobs.*', group: 'workers' };
  const first = consume(client, { open });
  await first.headers;
  await publishAll(client, messages('jobs.a', range(0, 10)));
  const given = await first.count(10);
  expect(texts(given).map(Number)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(given.every(({ deliveryAttempt }) => deliveryAttempt === 1)).toBe(true);
  for (const { sequence } of given.slice(0, 6)) first.call.write({ ack: sequence });
  await eventually(
    'acknowledged',
    () => server.events.stats().acknowledged,
    (acknowledged) => acknowledged === 6,
  );
  first.call.end();
  await first.ended;

  // While nobody is there the group stays where it was.
  await publish(client, { topic: 'jobs.b', payload: text('10') });
  const second = consume(client, { open });
  const rest = await second.count(5);
  expect(texts(rest).map(Number)).toEqual([6, 7, 8, 9, 10]);
  expect(rest.map(({ deliveryAttempt }) => deliveryAttempt)).toEqual([2, 2, 2, 2, 1]);
});

test('what is not acknowledged in time is delivered again', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const open = { pattern: 'jobs.*', group: 'workers', ackWait: milliseconds(100) };
  const consumer = consume(client, { open });
  await consumer.headers;
  const { sequence } = await publish(client, { topic: 'jobs.a' });
  const attempts = (await consumer.count(3)).slice(0, 3);
  expect(attempts.map((event) => [event.sequence, event.deliveryAttempt])).toEqual([
    [sequence, 1],
    [sequence, 2],
    [sequence, 3],
  ]);
  consumer.call.write({ ack: sequence });
  await eventually(
    'acknowledged',
    () => server.events.stats(),
    ({ acknowledged, unknownAcknowledgements }) => acknowledged + unknownAcknowledgements === 1,
  );
  const { redeliveries } = server.events.stats();
  expect(redeliveries).toBeGreaterThanOrEqual(2);
});

test('a nack is delivered again at once', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const consumer = consume(client, { open: { pattern: 'jobs.*', group: 'workers' } });
  await consumer.headers;
  const { sequence } = await publish(client, { topic: 'jobs.a' });
  await consumer.count(1);
  consumer.call.write({ nack: sequence });
  expect((await consumer.count(2))[1]).toMatchObject({ sequence, deliveryAttempt: 2 });
  expect(server.events.stats()).toMatchObject({ rejected: 1, deliveries: 2, redeliveries: 1 });
});

test('after so many deliveries in vain an event goes to the dead letters', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const dead = await subscribe(client, { pattern: 'dead.>' });
  const consumer = consume(client, {
    open: { pattern: 'jobs.*', group: 'workers', maxDeliveries: 3, deadLetterTopic: 'dead.jobs' },
  });
  await consumer.headers;
  consumer.call.on('data', ({ sequence, payload }: EventMessage) => {
    consumer.call.write(payload.equals(text('bad')) ? { nack: sequence } : { ack: sequence });
  });
  const { sequence } = await publish(client, {
    topic: 'jobs.a',
    payload: text('bad'),
    attributes: { tenant: 't' },
  });
  const good = await publish(client, { topic: 'jobs.a', payload: text('good') });
  const [letter] = await dead.count(1);
  expect(letter).toMatchObject({
    topic: 'dead.jobs',
    payload: text('bad'),
    attributes: {
      tenant: 't',
      'dead-letter-topic': 'jobs.a',
      'dead-letter-sequence': sequence,
      'dead-letter-group': 'workers',
      'dead-letter-attempts': '3',
    },
  });
  expect(consumer.list.filter((event) => event.sequence === sequence)).toHaveLength(3);
  expect(consumer.list.filter((event) => event.sequence === good.sequence)).toHaveLength(1);
  expect(server.events.stats().backplane).toMatchObject({ deadLetters: 1, givenUp: 0 });
});

test('without a dead-letter topic it is given up, and counted', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const consumer = consume(client, {
    open: { pattern: 'jobs.*', group: 'workers', maxDeliveries: 1 },
  });
  await consumer.headers;
  const { sequence } = await publish(client, { topic: 'jobs.a' });
  await consumer.count(1);
  consumer.call.write({ nack: sequence });
  await eventually(
    'given up',
    () => server.events.stats().backplane,
    ({ givenUp }) => givenUp === 1,
  );
  expect(consumer.list).toHaveLength(1);
});

test('no more than the credit is on its way; credit adds', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  await publishAll(client, messages('jobs.a', range(0, 100)));
  const consumer = consume(client, {
    open: { pattern: 'jobs.*', group: 'workers', maxPending: 3, start: { earliest: true } },
  });
  await consumer.count(3);
  consumer.call.write({ credit: 2 });
  await consumer.count(5);
  // An acknowledgement is no credit; the answer to a second one shows that the first was dealt with.
  consumer.call.write({ ack: '1' });
  consumer.call.write({ ack: '1' });
  await eventually(
    'dealt with',
    () => server.events.stats().unknownAcknowledgements,
    (count) => count === 1,
  );
  expect(consumer.list).toHaveLength(5);
  consumer.call.write({ credit: 95 });
  expect(texts(await consumer.count(100)).map(Number)).toEqual(range(0, 100));
});

test('an acknowledgement of what is not the consumer’s changes nothing, and is counted', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const open = { pattern: 'jobs.*', group: 'workers', maxPending: 1 };
  const [one, other] = [consume(client, { open }), consume(client, { open })];
  await Promise.all([one.headers, other.headers]);
  const { sequence } = await publish(client, { topic: 'jobs.a' });
  const holder = await Promise.race([
    one.count(1).then(() => one),
    other.count(1).then(() => other),
  ]);
  const stranger = holder === one ? other : one;
  stranger.call.write({ ack: sequence });
  stranger.call.write({ nack: 12345 });
  await eventually(
    'counted',
    () => server.events.stats().unknownAcknowledgements,
    (count) => count === 2,
  );
  expect(server.events.stats()).toMatchObject({ acknowledged: 0, rejected: 0 });
  // Both streams are still there, and the event is still its holder's.
  holder.call.write({ ack: sequence });
  await eventually(
    'acknowledged',
    () => server.events.stats().acknowledged,
    (count) => count === 1,
  );
  stranger.call.end();
  await stranger.ended;
});

test('members share, and what one leaves goes to others at once', async () => {
  const server = await servePubSub();
  const [leaving, staying] = [pubSubClient(server), pubSubClient(server)];
  const open = { pattern: 'jobs.*', group: 'workers' };
  const first = consume(leaving, { open });
  await first.headers;
  await publishAll(staying, messages('jobs.a', range(0, 50)));
  await first.count(50);
  const second = consume(staying, { open });
  await second.headers;
  // Its ack_wait is 30 s: only its going gives them free.
  first.call.cancel();
  const given = await second.count(50);
  expect(texts(given).map(Number)).toEqual(range(0, 50));
  expect(given.every(({ deliveryAttempt }) => deliveryAttempt === 2)).toBe(true);
});

test('groups are independent, and one keeps its pattern', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const one = consume(client, { open: { pattern: 'jobs.*', group: 'one' } });
  const two = consume(client, { open: { pattern: 'jobs.>', group: 'two' } });
  await Promise.all([one.headers, two.headers]);
  await publish(client, { topic: 'jobs.a' });
  await Promise.all([one.count(1), two.count(1)]);
  const other = consume(client, { open: { pattern: 'jobs.b', group: 'one' } });
  expect(await other.status).toMatchObject({
    code: Status.FAILED_PRECONDITION,
    details: expect.stringContaining('jobs.*'),
  });
});

test('a drain ends consumers, and nothing is lost', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const consumer = consume(client, { open: { pattern: 'jobs.*', group: 'workers' } });
  await consumer.headers;
  expect((await server.server.close()).aborted).toBe(0);
  expect(await consumer.status).toMatchObject({ code: Status.UNAVAILABLE });
});

const program = fileURLToPath(new URL('../support/pubsub-consumer.mjs', import.meta.url));

interface Said {
  readonly ready?: boolean;
  readonly error?: string;
  readonly sequence?: string;
  readonly attempt?: number;
  readonly acknowledged?: boolean;
}

/** A consumer in a process of its own. */
function startConsumer(
  port: number,
  configuration: object,
  said: (message: Said) => void,
): ChildProcess {
  const child = fork(program, [String(port), JSON.stringify(configuration)]);
  child.on('message', said);
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

test('at least once, though consumers are killed in the middle', async () => {
  const server = await servePubSub();
  const seed = seedForTest();
  const pick = random(seed);
  const total = 4000;
  const client = pubSubClient(server);
  const open = { pattern: 'jobs.*', group: 'workers', maxPending: 64 };
  // The group begins before anything is published.
  const founder = consume(client, { open: { ...open, maxPending: 1 } });
  await founder.headers;
  founder.call.cancel();

  const acknowledged = new Set<string>();
  let deliveries = 0;
  let redelivered = 0;
  let unacknowledgedAtKills = 0;
  const publishing = publishAll(client, messages('jobs.a', range(0, total)));
  while (acknowledged.size < total) {
    let held = 0;
    const kill = pick.between(1, 800);
    let progress = () => {};
    const child = startConsumer(server.port, { method: 'consume', open }, (said) => {
      if (said.error !== undefined) throw new Error(said.error);
      if (said.sequence === undefined) return;
      deliveries++;
      held++;
      if (said.attempt !== 1) redelivered++;
      if (said.acknowledged === true) acknowledged.add(said.sequence);
      progress();
    });
    await new Promise<void>((resolve) => {
      progress = () => {
        if (held >= kill || acknowledged.size === total) resolve();
      };
    });
    child.kill('SIGKILL');
    await once(child, 'exit');
    // What was on its way, and acknowledgements that did not arrive.
    unacknowledgedAtKills += 2 * 64;
  }
  expect((await publishing).length).toBe(total);
  expect(acknowledged.size).toBe(total);
  expect(deliveries).toBeGreaterThanOrEqual(total);
  expect(redelivered).toBeLessThanOrEqual(2 * unacknowledgedAtKills);
  // Nothing is left that nobody has acknowledged, but for acknowledgements that died with their consumer.
  await eventually(
    'every member has left',
    () => server.events.stats(),
    ({ acknowledged: arrived }) => arrived >= total - unacknowledgedAtKills,
  );
});

test('threads share groups', async () => {
  const server = await startServer({ threads: 2, services: 'pubsub' });
  const clients = Array.from({ length: 8 }, () => pubSubClient(server));
  const total = 2000;
  // None may take what is the others' share, however early it is.
  const open = { pattern: 'jobs.*', group: 'workers', maxPending: total / 8 };
  const consumers = clients.map((client) => consume(client, { open }));
  await Promise.all(consumers.map(({ headers }) => headers));
  const seen: string[] = [];
  const done = new Promise<void>((resolve) => {
    for (const { call } of consumers) {
      call.on('data', ({ sequence }: EventMessage) => {
        call.write({ ack: sequence });
        seen.push(sequence);
        if (seen.length >= total) resolve();
      });
    }
  });
  await Promise.all(
    clients.map((client, index) =>
      publishAll(client, messages(`jobs.${index}`, range(0, total / 8))),
    ),
  );
  await done;
  expect(new Set(seen).size).toBe(total);
  for (const { list } of consumers) expect(list.length).toBeGreaterThan(0);
});
