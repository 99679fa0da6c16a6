// Pub/sub over NATS from outside: server processes that have nothing in common but nats-server.

import { status } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import { NatsServer, natsServerInstalled } from '../support/nats-server.js';
import { natsSetting } from '../support/nats-setting.js';
import { numbers } from '../support/numbers.js';
import {
  consume,
  messages,
  publish,
  publishAll,
  pubSubClient,
  received,
  refusedSubscription,
  subscribe,
  text,
  texts,
} from '../support/pubsub-client.js';
import { startNatsNode } from '../support/pubsub-nats-node.js';

const installed = natsServerInstalled('pub/sub over NATS');
const earliest = { earliest: true };
const seconds = (count: number) => ({ seconds: count, nanos: 0 });

describe.skipIf(!installed)('two server processes joined by NATS', () => {
  const nats = natsSetting();

  async function nodes(count: number, options: Record<string, unknown> = {}) {
    const start = () => startNatsNode({ ...nats.settings, ...options });
    const started = await Promise.all(Array.from({ length: count }, start));
    return { nodes: started, start };
  }

  test('a subscriber of one sees what is published on the other, in order, with sequences', async () => {
    const [a, b] = (await nodes(2)).nodes;
    const [one, other] = [pubSubClient(a!), pubSubClient(b!)];
    const all = await subscribe(other, { pattern: 'orders.>', maxPending: 1000 });
    const some = await subscribe(one, { pattern: 'orders.*.created', maxPending: 1000 });
    const replies = await publishAll(one, [
      ...messages('orders.eu.created', numbers(1, 200)),
      ...messages('orders.eu.paid', numbers(201, 300)),
      ...messages('other', numbers(301, 310)),
    ]);
    expect(replies.map(({ sequence }) => sequence)).toEqual(numbers(1, 310));
    expect(replies[0]).toMatchObject({ delivered: 1, duplicate: false });
    const events = await all.count(300);
    expect(texts(events)).toEqual(numbers(1, 300));
    expect(events.map(({ sequence }) => sequence)).toEqual(numbers(1, 300));
    expect(events[250]).toMatchObject({ topic: 'orders.eu.paid', dropped: '0' });
    expect(texts(await some.count(200))).toEqual(numbers(1, 200));
  });

  test('transient events reach the other process and are not kept', async () => {
    const { nodes: started } = await nodes(2, { transient: ['ticks.>'] });
    const [one, other] = started.map(pubSubClient);
    const events = await subscribe(other!, { pattern: '>' });
    expect(await publish(one!, { topic: 'ticks.x', payload: text('1') })).toMatchObject({
      sequence: '0',
    });
    expect(await events.count(1)).toMatchObject([{ topic: 'ticks.x', sequence: '0' }]);
    expect((await refusedSubscription(other!, { pattern: 'ticks.x', start: earliest })).code).toBe(
      status.FAILED_PRECONDITION,
    );
  });

  test('a blocking subscriber gets everything, however late it reads', async () => {
    const topics = [{ pattern: '>', slowConsumer: ['drop-oldest', 'block'] }];
    const [one, other] = (await nodes(2, { topics })).nodes.map(pubSubClient);
    const slowConsumer = 'SLOW_CONSUMER_BLOCK';
    const slow = await subscribe(other!, { pattern: 'orders', slowConsumer, maxPending: 1 });
    slow.call.pause();
    const payload = Buffer.alloc(4096);
    const replies = await publishAll(
      one!,
      numbers(1, 1000).map(() => ({ topic: 'orders', payload })),
    );
    slow.call.resume();
    const events = await slow.count(1000);
    expect(events.map(({ sequence }) => sequence)).toEqual(replies.map(({ sequence }) => sequence));
    expect(events.every(({ dropped }) => dropped === '0')).toBe(true);
  });

  test('a drain ends every stream, also one that waits for NATS', async () => {
    const topics = [{ pattern: '>', slowConsumer: ['drop-oldest', 'block'] }];
    const [node] = (await nodes(1, { topics })).nodes;
    const client = pubSubClient(node!);
    await publish(client, { topic: 'orders' });
    const slowConsumer = 'SLOW_CONSUMER_BLOCK';
    const streams = [
      await subscribe(client, { pattern: 'orders' }),
      await subscribe(client, { pattern: 'orders', group: 'workers' }),
      await subscribe(client, { pattern: 'orders', slowConsumer }),
      await subscribe(client, { pattern: 'orders', slowConsumer, start: earliest }),
    ];
    await streams[3]!.count(1);
    const consumer = consume(client, { open: { pattern: '>', group: 'billing' } });
    await consumer.headers;
    const code = node!.drain();
    for (const stream of [...streams, consumer]) {
      expect(await stream.status).toMatchObject({
        code: status.UNAVAILABLE,
        details: expect.stringContaining('shutting down'),
      });
    }
    expect(await code).toBe(0);
  });

  test('replay from a sequence across a restart of both', async () => {
    const { nodes: before, start } = await nodes(2);
    await publishAll(pubSubClient(before[0]!), messages('orders', numbers(1, 60)));
    await publishAll(pubSubClient(before[1]!), messages('orders', numbers(61, 100)));
    await Promise.all(before.map((node) => node.kill()));
    const [a, b] = await Promise.all([start(), start()]);
    const events = await subscribe(pubSubClient(a), {
      pattern: 'orders',
      start: { sequence: 50 },
      maxPending: 1000,
    });
    await events.count(51);
    await publishAll(pubSubClient(b), messages('orders', numbers(101, 150)));
    await events.count(101);
    expect(texts(events.list)).toEqual(numbers(50, 150));
    expect(events.list.map(({ sequence }) => sequence)).toEqual(numbers(50, 150));
  });

  test('nats-server restarts mid-stream: nothing acknowledged is lost, nothing comes twice', async () => {
    const { nodes: started } = await nodes(2);
    const [one, other] = started.map(pubSubClient);
    const events = await subscribe(other!, { pattern: 'orders', maxPending: 10_000 });
    let stop = false;
    let published = 0;
    const publishing = (async () => {
      while (!stop) {
        const messageId = `id ${published + 1}`;
        const payload = text(String(published + 1));
        await publish(one!, { topic: 'orders', payload, messageId });
        published++;
      }
    })();
    for (let restarts = 0; restarts < 2; restarts++) {
      await events.count(events.list.length + 100);
      await nats.server.kill();
      await nats.server.start();
    }
    stop = true;
    await publishing;
    await events.count(published);
    expect(texts(events.list)).toEqual(numbers(1, published));
  });

  test('the limit of the stream, and duplicates', async () => {
    const options = { nats: { ...nats.settings.nats, retention: { count: 10 } } };
    const { nodes: started } = await nodes(2, options);
    const [one, other] = started.map(pubSubClient);
    expect(await publish(one!, { topic: 'a', messageId: 'x' })).toMatchObject({ sequence: '1' });
    expect(await publish(other!, { topic: 'a', messageId: 'x' })).toMatchObject({
      sequence: '1',
      duplicate: true,
    });
    await publishAll(one!, messages('a', numbers(2, 10)));
    const refused = await publish(other!, { topic: 'a' }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    // In a stream the refusal says which request it was.
    const call = one!.publishStream();
    const stream = received(call);
    for (let index = 0; index < 3; index++) call.write({ topic: 'a' });
    call.end();
    expect(await stream.status).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('request 0'),
    });
  });

  test('a durable group over both: shared, redelivered, dead letters, kept over a restart', async () => {
    const { nodes: started, start } = await nodes(2);
    const [one, other] = started.map(pubSubClient);
    const open = {
      pattern: 'orders.>',
      group: 'billing',
      start: earliest,
      ackWait: seconds(30),
      maxDeliveries: 2,
      deadLetterTopic: 'dead',
      maxPending: 4,
    };
    await publishAll(one!, messages('orders.x', numbers(1, 12)));
    const first = consume(one!, { open });
    await first.count(4);
    const second = consume(other!, { open: { ...open, maxPending: 100 } });
    await second.count(8);
    expect(texts([...first.list, ...second.list])).toEqual(numbers(1, 12));
    // 1 and 2 are done with, 3 is rejected and comes to the other, 4 comes when the first is gone.
    first.call.write({ ack: '1' });
    first.call.write({ ack: '2' });
    first.call.write({ nack: '3' });
    await second.count(9);
    expect(second.list[8]).toMatchObject({ sequence: '3', deliveryAttempt: 2 });
    first.call.cancel();
    await second.count(10);
    expect(second.list[9]).toMatchObject({ sequence: '4', deliveryAttempt: 2 });
    // Rejected once more it has been delivered as often as it may be.
    const dead = await subscribe(one!, { pattern: 'dead' });
    second.call.write({ nack: '3' });
    const [letter] = await dead.count(1);
    expect(letter!.payload.toString()).toBe('3');
    expect(letter!.attributes).toMatchObject({
      'dead-letter-topic': 'orders.x',
      'dead-letter-sequence': '3',
      'dead-letter-group': 'billing',
    });
    for (const { sequence } of second.list)
      if (sequence !== '3') second.call.write({ ack: sequence });
    // Its end is answered when everything before it has been done.
    second.call.end();
    await second.ended;
    await Promise.all(started.map((node) => node.kill()));
    const client = pubSubClient(await start());
    await publish(client, { topic: 'orders.x', payload: text('13') });
    const third = consume(client, { open: { ...open, maxPending: 100 } });
    expect((await third.count(1))[0]!.payload.toString()).toBe('13');
  });
});

test.skipIf(!installed)(
  'NATS is down at start: the log says so, calls fail or wait for it',
  async () => {
    const server = await NatsServer.start();
    onTestFinished(() => server.stop());
    await server.kill();
    const node = await startNatsNode({
      space: 'down',
      nats: { servers: server.address, waitMs: 500 },
    });
    const client = pubSubClient(node);
    const error = await publish(client, { topic: 'a' }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: status.UNAVAILABLE,
      details: expect.stringContaining('NATS cannot be reached at'),
    });
    await server.start();
    // Each waits for half a second; by then it may take one more.
    for (;;) {
      const reply = await publish(client, { topic: 'a' }).catch(() => undefined);
      if (reply === undefined) continue;
      expect(reply.sequence).toBe('1');
      break;
    }
    expect(node.logs.filter((line) => line.includes('NATS cannot be reached'))).toHaveLength(1);
  },
);
