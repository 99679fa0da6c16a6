// Publish and subscribe, as an independent client and our own see it.

import { type Event, PublishReply, PublishRequest, PubSub } from '@millrace/pubsub';
import { connect, connection } from 'millrace';
import { fromBinary, toBinary } from 'millrace/codec';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { range } from '../support/numbers.js';
import {
  messages,
  publish,
  publishAll,
  pubSubClient,
  received,
  subscribe,
  text,
  texts,
} from '../support/pubsub-client.js';
import { servePubSub, subscriptionsLeft } from '../support/pubsub-server.js';
import { Reset } from '../support/raw-peer.js';
import { startServer } from '../support/server.js';
import { rawSubscriber } from '../support/topics.js';

test('an event reaches those whose pattern matches, with all that it was given', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const patterns = [
    'orders.eu.created',
    'orders.*.created',
    'orders.>',
    '>',
    'orders.*',
    '*.eu.paid',
  ];
  const subscribers = await Promise.all(patterns.map((pattern) => subscribe(client, { pattern })));
  const before = Date.now();
  const reply = await publish(client, {
    topic: 'orders.eu.created',
    payload: text('{"id":1}'),
    attributes: { tenant: 'a', größe: '9' },
  });
  expect(reply).toEqual({ sequence: '1', delivered: 4, duplicate: false });
  for (const [index, pattern] of patterns.entries()) {
    if (index > 3) continue;
    const [event] = await subscribers[index]!.count(1);
    expect([pattern, event]).toEqual([
      pattern,
      {
        topic: 'orders.eu.created',
        payload: text('{"id":1}'),
        attributes: { tenant: 'a', größe: '9' },
        sequence: '1',
        publishedAt: expect.anything(),
        dropped: '0',
        deliveryAttempt: 0,
      },
    ]);
    const publishedAt = Number(event?.publishedAt?.seconds) * 1000;
    expect(publishedAt).toBeGreaterThan(before - 2000);
    expect(publishedAt).toBeLessThan(before + 60_000);
  }
  expect(subscribers[4]?.list).toEqual([]);
  expect(subscribers[5]?.list).toEqual([]);
});

test('what is published once the headers have come is seen, every time', async () => {
  const server = await servePubSub();
  for (let round = 0; round < 50; round++) {
    const [subscribing, publishing] = [pubSubClient(server), pubSubClient(server)];
    await publish(publishing, { topic: 'a.before' });
    const subscriber = await subscribe(subscribing, { pattern: 'a.*' });
    await publish(publishing, { topic: 'a.after', payload: text(String(round)) });
    const [first] = await subscriber.count(1);
    expect(first).toMatchObject({ topic: 'a.after', payload: text(String(round)) });
    subscriber.call.cancel();
    subscribing.close();
    publishing.close();
  }
});

test('our own client, both ways', async () => {
  const server = await servePubSub();
  const made = connection(`127.0.0.1:${server.port}`);
  onTestFinished(() => made.close(1000));
  const client = connect(PubSub, made);
  const events = client.subscribe({ pattern: 'a.>' });
  await events.headers;
  const stream = client.publishStream();
  for (let count = 0; count < 100; count++) {
    stream.write({ topic: 'a.b', payload: new Uint8Array([count]) });
  }
  stream.end();
  const replies = [];
  for await (const reply of stream) replies.push(reply);
  expect(replies.map(({ sequence }) => sequence)).toEqual(range(1, 101).map(BigInt));
  const seen: Event[] = [];
  for await (const event of events) if (seen.push(event) === 100) break;
  expect(seen.map(({ payload }) => payload[0])).toEqual(range(0, 100));
});

test('order holds for each topic of each publisher, and replies are in order', async () => {
  const server = await servePubSub();
  const publishers = 4;
  const each = 2000;
  const subscribers = await Promise.all(
    [1, 2, 3].map(() => subscribe(pubSubClient(server), { pattern: 'o.*', maxPending: 65_536 })),
  );
  const replies = await Promise.all(
    Array.from({ length: publishers }, (_, publisher) =>
      publishAll(
        pubSubClient(server),
        Array.from({ length: each }, (_, index) => ({
          topic: `o.${index % 2}`,
          payload: text(`${publisher} ${index}`),
        })),
      ),
    ),
  );
  const all = new Set<string>();
  for (const list of replies) {
    expect(list.length).toBe(each);
    const sequences = list.map(({ sequence }) => Number(sequence));
    expect(sequences).toEqual([...sequences].sort((a, b) => a - b));
    for (const sequence of sequences) all.add(String(sequence));
  }
  // Unique, and every one of them given to somebody.
  expect(all.size).toBe(publishers * each);
  for (const subscriber of subscribers) {
    const events = await subscriber.count(publishers * each);
    const last = new Map<string, number>();
    for (const { topic, payload } of events) {
      const [publisher, index] = payload.toString().split(' ');
      const key = `${publisher} ${topic}`;
      expect(Number(index)).toBeGreaterThan(last.get(key) ?? -1);
      last.set(key, Number(index));
    }
    expect(events.every(({ dropped }) => dropped === '0')).toBe(true);
  }
});

test('a group shares, and counts as one', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const members = await Promise.all(
    [1, 2, 3].map(() => subscribe(client, { pattern: 'g.*', group: 'one', maxPending: 1000 })),
  );
  const other = await subscribe(client, { pattern: 'g.*', group: 'other', maxPending: 1000 });
  const alone = await subscribe(client, { pattern: 'g.*', maxPending: 1000 });
  const replies = await publishAll(client, messages('g.a', range(0, 300)));
  expect(new Set(replies.map(({ delivered }) => delivered))).toEqual(new Set([3]));
  await Promise.all([other.count(300), alone.count(300)]);
  // Nothing orders the events of one call before those of another.
  await eventually(
    'the members have everything',
    () => members.reduce((sum, { list }) => sum + list.length, 0),
    (sum) => sum >= 300,
  );
  const shared = members.flatMap(({ list }) => texts(list).map(Number));
  expect(shared.sort((a, b) => a - b)).toEqual(range(0, 300));
  for (const { list } of members) {
    const numbers = texts(list).map(Number);
    expect(numbers.length).toBeGreaterThan(0);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  }
});

test('a duplicate is not published again, and its reply is that of the first', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const subscriber = await subscribe(client, { pattern: '>' });
  const first = await publish(client, { topic: 'a', messageId: 'm1' });
  expect(first).toEqual({ sequence: '1', delivered: 1, duplicate: false });
  const again = await publishAll(client, [
    { topic: 'a', messageId: 'm1' },
    { topic: 'b', messageId: 'm1' },
    { topic: 'b', messageId: 'm2' },
  ]);
  expect(again).toEqual([
    { sequence: '1', delivered: 0, duplicate: true },
    { sequence: '1', delivered: 0, duplicate: true },
    { sequence: '2', delivered: 1, duplicate: false },
  ]);
  expect((await subscriber.count(2)).map(({ sequence }) => sequence)).toEqual(['1', '2']);
  expect(server.events.stats()).toMatchObject({ published: 2, duplicates: 2 });
});

test('transient topics have no sequence, and are delivered as any', async () => {
  const server = await servePubSub({ transient: ['metrics.>'] });
  const client = pubSubClient(server);
  const subscriber = await subscribe(client, { pattern: '>' });
  await publish(client, { topic: 'a' });
  expect(await publish(client, { topic: 'metrics.cpu' })).toMatchObject({
    sequence: '0',
    delivered: 1,
  });
  await publish(client, { topic: 'b' });
  const events = await subscriber.count(3);
  expect(events.map(({ topic, sequence }) => [topic, sequence])).toEqual([
    ['a', '1'],
    ['metrics.cpu', '0'],
    ['b', '2'],
  ]);
});

test('spaces of one process have nothing to do with each other', async () => {
  const [one, other] = [await servePubSub(), await servePubSub()];
  const subscriber = await subscribe(pubSubClient(one), { pattern: '>' });
  await publish(pubSubClient(other), { topic: 'a' });
  await publish(pubSubClient(one), { topic: 'b' });
  expect((await subscriber.count(1))[0]).toMatchObject({ topic: 'b', sequence: '1' });
});

test('large payloads come whole, to a subscriber that reads in time and to one that does not', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const fast = await subscribe(client, { pattern: 'large' });
  const slow = pubSubClient(server).subscribe({ pattern: 'large', maxPending: 100 });
  await new Promise((resolve) => slow.once('metadata', resolve));
  const payloads = Array.from({ length: 20 }, (_, index) =>
    Buffer.alloc(900_000 + index, `${index}-`),
  );
  for (const payload of payloads) await publish(client, { topic: 'large', payload });
  const late = received(slow);
  for (const { count } of [fast, late]) {
    const events = await count(payloads.length);
    for (const [index, payload] of payloads.entries()) {
      expect(Buffer.compare(events[index]!.payload, payload)).toBe(0);
    }
  }
});

test('a subscriber that goes leaves nothing behind', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const subscriber = await subscribe(client, { pattern: 'a' });
  expect(await publish(client, { topic: 'a' })).toMatchObject({ delivered: 1 });
  subscriber.call.cancel();
  await subscriber.status;
  await subscriptionsLeft(server, 0);
  expect(await publish(client, { topic: 'a' })).toMatchObject({ delivered: 0 });
});

test('what comes behind the RST_STREAM of a subscriber finds it gone', async () => {
  const { server } = await servePubSub();
  const { peer, stream } = await rawSubscriber(server, 'a', 65_535);
  const delivered = async (before = () => {}) => {
    const request = Buffer.from(toBinary(PublishRequest, { topic: 'a' }));
    peer.socket.cork();
    before();
    const publishing = peer.request({ path: '/millrace.pubsub.v1.PubSub/Publish' });
    void publishing.sendMessage(request, true);
    peer.socket.uncork();
    expect(await publishing.end).toMatchObject({ code: 0 });
    return fromBinary(PublishReply, publishing.messages[0]!).delivered;
  };
  expect(await delivered()).toBe(1);
  expect(await delivered(() => stream.reset(Reset.CANCEL))).toBe(0);
});

test('a drain ends every stream, a PublishStream after its replies', async () => {
  const server = await servePubSub();
  const client = pubSubClient(server);
  const subscriber = await subscribe(client, { pattern: 'a' });
  const publishing = client.publishStream();
  const replies = received(publishing);
  publishing.write({ topic: 'a' });
  await replies.count(1);
  const closed = await server.server.close();
  expect(closed.aborted).toBe(0);
  expect((await subscriber.status).details).toContain('shutting down');
  expect(await replies.status).toMatchObject({ code: 14 });
  expect(subscriber.list).toHaveLength(1);
});

test('threads share events, sequences and identifiers', async () => {
  const server = await startServer({ threads: 2, services: 'pubsub' });
  // A connection lands on either thread.
  const clients = Array.from({ length: 12 }, () => pubSubClient(server));
  const subscribers = await Promise.all(
    clients.map((client) => subscribe(client, { pattern: 't.*', maxPending: 10_000 })),
  );
  const each = 500;
  const replies = await Promise.all(
    clients.map((client, publisher) =>
      publishAll(client, messages(`t.${publisher}`, range(0, each))),
    ),
  );
  const total = clients.length * each;
  const sequences = new Set(replies.flat().map(({ sequence }) => sequence));
  expect(sequences.size).toBe(total);
  expect(new Set(replies.flat().map(({ delivered }) => delivered))).toEqual(new Set([12]));
  for (const subscriber of subscribers) {
    const events = await subscriber.count(total);
    expect(new Set(events.map(({ sequence }) => sequence))).toEqual(sequences);
    const last = new Map<string, number>();
    for (const { topic, payload } of events) {
      const index = Number(payload.toString());
      expect(index).toBe((last.get(topic) ?? -1) + 1);
      last.set(topic, index);
    }
  }
  const again = await Promise.all(
    clients.map((client) => publish(client, { topic: 't.once', messageId: 'once' })),
  );
  expect(again.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
});
