// Topics that are closed end what was made by them, and leave nothing behind.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { Event } from '@millrace/pubsub';
import { joinDurableGroup, Status, StatusError, type Topics, topics } from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { collectGarbage } from '../support/garbage.js';
import { numberOf, subscriber, topicsServer, uniqueName } from '../support/topics.js';

type Events = Topics<Event, Parameters<typeof Event.encode>[0]>;

const join = (events: Events) =>
  joinDurableGroup(events, 'group', {
    pattern: '>',
    ackWaitMs: 1000,
    maxDeliveries: 0,
    maxUnacknowledged: 1,
    deliver() {},
  });

/** Everything that may be asked of topics. */
const requests: readonly ((events: Events) => unknown)[] = [
  (events) => events.publish('a', {}),
  (events) => events.publish('a', {}, { retain: true }),
  (events) => events.writable('a'),
  (events) => events.subscribe('a'),
  (events) => events.stats(),
  join,
];

test('subscriptions end with OK, or with an error, behind what was published', async () => {
  const { server, events, publish, emptied } = await topicsServer({ maxPending: 1000 });
  const client = subscriber(server);
  const streams = [client.subscribe({ pattern: '>' }), client.subscribe({ pattern: 'a' })];
  for (const stream of streams) await stream.headers;
  for (let number = 0; number < 500; number++) publish('a', number, 1000);
  events.close();
  for (const request of requests.filter((_, index) => index !== 1)) {
    expect(() => request(events)).toThrow('MILLRACE_TOPICS_CLOSED');
  }
  events.close();
  events[Symbol.dispose]();
  for (const stream of streams) {
    let next = 0;
    for await (const event of stream) expect(numberOf(event)).toBe(next++);
    expect(next).toBe(500);
  }
  // The handler subscribes to what is closed.
  await expect(client.subscribe({ pattern: 'a' }).next()).rejects.toMatchObject({
    code: Status.INTERNAL,
  });
  const other = await topicsServer();
  const stream = subscriber(other.server).subscribe({ pattern: '>' });
  await stream.headers;
  other.events.close(new StatusError(Status.NOT_FOUND, 'the room is gone'));
  await expect(stream.next()).rejects.toMatchObject({
    code: Status.NOT_FOUND,
    message: expect.stringContaining('the room is gone') as string,
  });
  await eventually('no call is left', async () => {
    const { total } = await other.server.stats();
    return total['subscribedCalls'] === 0;
  });
  await expect(emptied()).rejects.toThrow('MILLRACE_TOPICS_CLOSED');
});

test('others who have made topics of the name go on, and forget them with the last', async () => {
  const retention = { count: 10 };
  const { server, events, publish, emptied } = await topicsServer({}, { retention });
  const options = { name: events.name, dropped: 'dropped', retention } as const;
  const other = topics(Event, options);
  const stream = subscriber(server).subscribe({ pattern: '>' });
  await stream.headers;
  publish('a', 0);
  other.close();
  expect(publish('a', 1)).toEqual({ sequence: 2n, delivered: 1 });
  // A thread that ends has nothing to close.
  const worker = new Worker(
    `const { workerData } = require('node:worker_threads');
    Promise.all([import('millrace'), import('@millrace/pubsub')]).then(([{ topics }, { Event }]) => {
      topics(Event, workerData).publish('a', {});
    });`,
    { eval: true, workerData: options },
  );
  expect(await once(worker, 'exit')).toEqual([0]);
  expect(events.stats()).toMatchObject({ subscriptions: 1, retained: 3 });
  stream.cancel();
  await emptied();
  events.close();
  const anew = topics(Event, { ...options, retention: { count: 20 } });
  onTestFinished(() => anew.close());
  expect(anew.stats()).toMatchObject({ retained: 0, lastSequence: 0 });
});

test('members of durable groups leave, whose dead letters may still be published', async () => {
  const name = uniqueName('left');
  const options = { name, retention: {} };
  const [events, others] = [topics(Event, options), topics(Event, options)];
  onTestFinished(() => others.close());
  const delivered: bigint[] = [];
  const member = joinDurableGroup(events, 'group', {
    pattern: 'work',
    ackWaitMs: 60_000,
    maxDeliveries: 1,
    maxUnacknowledged: 10,
    deliver: (_event, sequence) => delivered.push(sequence),
    deadLetter: (_event, sequence) => {
      events.publish('dead', { topic: `${sequence}` });
    },
  });
  member.request(10);
  for (let count = 0; count < 3; count++) events.publish('work', {});
  await eventually('all have come', () => delivered.length === 3);
  expect(member.acknowledge(2n)).toBe(true);
  events.close();
  expect(member.acknowledge(1n)).toBe(false);
  member.request(10);
  member.leave();
  expect(others.stats()).toMatchObject({ deadLetters: 2, unacknowledged: 0, lastSequence: 5 });
});

test('publishers that wait go on, and getters may close what their event is for', async () => {
  const { server, events } = await topicsServer({ slowConsumer: 'block', maxPending: 1 });
  const client = subscriber(server, { limits: { streamWindowBytes: 65_535 } });
  const stream = client.subscribe({ pattern: '>' });
  await stream.headers;
  const payload = new Uint8Array(500_000);
  while (events.writable('a') === true) events.publish('a', { payload });
  const wait = events.writable('a');
  events.close();
  await wait;
  expect(() => events.publish('a', {})).toThrow('MILLRACE_TOPICS_CLOSED');
  stream.cancel();

  for (const retain of [false, true]) {
    const name = uniqueName('closed by a getter');
    const closed = topics(Event, { name, retention: {} });
    const others: Events[] = [];
    onTestFinished(() => others[0]?.close());
    const closing = {
      topic: 'a',
      get payload() {
        closed.close();
        others.push(topics(Event, { name, retention: {} }));
        others[0]?.publish('b', {});
        return new Uint8Array(10);
      },
    };
    expect(() => closed.publish('a', closing, { retain })).toThrow('MILLRACE_TOPICS_CLOSED');
    expect(others[0]?.stats().published).toBe(1);
  }
});

test('a subscription that a call takes when its topics are closed ends at once', async () => {
  const { server, events } = await topicsServer();
  const client = subscriber(server);
  const stream = client.subscribe({ pattern: '>' });
  await stream.headers;
  const { subscribe } = events;
  let made = 0;
  events.subscribe = (...given) => {
    made++;
    const subscription = subscribe.apply(events, given);
    events.close();
    return subscription;
  };
  expect(await client.subscribe({ pattern: 'b' }).next()).toMatchObject({ done: true });
  expect([made, (await stream.next()).done]).toEqual([1, true]);
});

test('what is closed is collected', async () => {
  const made = Array.from({ length: 20 }, (_, number) => {
    const events: Events = topics(Event, { name: uniqueName('collected'), retention: {} });
    events.publish('a', { payload: new Uint8Array(100) });
    join(events);
    if (number % 2 === 0) events.close();
    else events[Symbol.dispose]();
    return new WeakRef(events);
  });
  await eventually('nobody keeps them', () => {
    collectGarbage();
    return made.every((each) => each.deref() === undefined);
  });
});
