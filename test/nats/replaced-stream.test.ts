// A stream that is deleted and made anew, whose sequences begin again: nobody may take its events for those
// that they have seen.

import { status } from '@grpc/grpc-js';
import type { Interest } from '@millrace/pubsub';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { administer, ever } from '../support/nats-link.js';
import { natsServerInstalled } from '../support/nats-server.js';
import { natsSetting } from '../support/nats-setting.js';
import { numbers } from '../support/numbers.js';
import {
  consume,
  messages,
  publish,
  publishAll,
  pubSubClient,
  subscribe,
  text,
  texts,
} from '../support/pubsub-client.js';
import { startNatsNode } from '../support/pubsub-nats-node.js';

const installed = natsServerInstalled('a stream that is made anew');
const decoder = new TextDecoder();

describe.skipIf(!installed)('a stream that is deleted and made anew', () => {
  const nats = natsSetting();
  const { node } = nats;
  const remove = () => administer(nats.server, (manager) => manager.streams.delete(nats.stream));

  /**
   * Deleted and made anew by another process, which has published by then: nobody here has noticed, and
   * the new stream has more events than the former one had.
   */
  async function replace(events: number): Promise<void> {
    await remove();
    const other = node();
    for (let index = 1; index <= events; index++) await other.publish('orders', `new ${index}`);
  }

  test.each([
    ['fewer', 3],
    ['as many', 5],
    ['more', 8],
  ])('subscribers get all of the new one, which has %s events', async (_what, events) => {
    const a = node();
    const seen = await a.subscribe();
    for (const each of numbers(1, 5)) await a.publish('orders', each);
    await seen.reaches(5);
    await replace(events);
    await a.publish('orders', 'last');
    // They had subscribed to the local events of the former stream, and stay there.
    const all = await seen.reaches(5 + events + 1);
    const fresh = numbers(1, events).map((each) => `new ${each}`);
    expect(all.map((event) => event.text)).toEqual([...numbers(1, 5), ...fresh, 'last']);
    expect(all.slice(5).map(({ sequence }) => String(sequence))).toEqual(numbers(1, events + 1));
    expect(a.link.stats()).toMatchObject({ streamReplaced: 1, feedMissed: 0 });
    expect(a.log.lines.filter((line) => line.includes('deleted and made anew, or'))).toHaveLength(
      1,
    );
    // Who comes now has the local events of the new one.
    const next = await a.subscribe();
    await a.publish('orders', 'very last');
    expect((await next.reaches(events + 2)).at(-1)).toMatchObject({
      text: 'very last',
      sequence: BigInt(events + 2),
    });
    expect(next).not.toBe(seen);
  });

  test('who has BLOCK, or replays, or is in a group, gets all of the new one, too', async () => {
    const a = node();
    for (const each of numbers(1, 5)) await a.publish('orders', each);
    const interest = (options: object) =>
      a.link.interest(
        { pattern: 'orders', group: '', start: undefined, blocking: false, ...options },
        ever,
      );
    const take = async ({ replay }: Interest, count: number) => {
      const taken: string[] = [];
      while (taken.length < count) {
        const { done, value } = await replay!.next();
        if (done === true) break;
        taken.push(`${decoder.decode(value.payload)} ${value.sequence}`);
      }
      return taken;
    };
    const blocking = await interest({ blocking: true, start: 'earliest' });
    const replaying = await interest({ start: 'earliest' });
    const former = numbers(1, 5).map((each) => `${each} ${each}`);
    expect(await take(blocking, 5)).toEqual(former);
    expect(await take(replaying, 1)).toEqual(former.slice(0, 1));
    const group = a.topics((await interest({ group: 'workers' })).topics);
    await a.publish('orders', '6');
    await group.reaches(1);
    expect(await take(blocking, 1)).toEqual(['6 6']);

    await replace(8);
    const fresh = numbers(1, 8).map((each) => `new ${each} ${each}`);
    expect(await take(blocking, 8)).toEqual(fresh);
    // What it had been sent already it may still have, in front.
    const replayed = await take(replaying, 13);
    expect(replayed.slice(-8)).toEqual(fresh);
    const ofGroup = (await group.reaches(9)).map((event) => `${event.text} ${event.sequence}`);
    expect(ofGroup).toEqual(['6 6', ...fresh]);
    expect(a.link.stats()).toMatchObject({ streamReplaced: 1, replayMissed: 0 });
  });

  test('it is noticed without anybody publishing here, and made anew if nobody has done so', async () => {
    const a = node();
    await a.publish('orders', '1');
    await remove();
    await a.log.has('the stream was deleted');
    await eventually(
      'the stream is there again',
      () => Promise.resolve(a.link.stats()),
      (stats) => stats['streamReplaced'] === 1 && stats['connected'] === 1,
    );
    expect((await a.publish('orders', '2')).sequence).toBe(1n);
  });

  test('from outside: subscribers go on, members of groups are told', async () => {
    const process = await startNatsNode(nats.settings);
    const client = pubSubClient(process);
    const events = await subscribe(client, { pattern: 'orders', maxPending: 1000 });
    const workers = await subscribe(client, { pattern: 'orders', group: 'workers' });
    const consumer = consume(client, { open: { pattern: 'orders', group: 'billing' } });
    await consumer.headers;
    await publishAll(client, messages('orders', numbers(1, 50)));
    await events.count(50);
    await consumer.count(50);
    await workers.count(50);
    await remove();
    expect(await consumer.status).toMatchObject({
      code: status.ABORTED,
      details: expect.stringContaining('join it again'),
    });
    // Until it is noticed publishers are refused; then it is there again.
    for (let published = 51; published <= 150; ) {
      const message = { topic: 'orders', payload: text(String(published)) };
      const reply = await publish(client, message).catch(() => undefined);
      if (reply !== undefined) published++;
    }
    await events.count(150);
    await workers.count(150);
    expect(texts(events.list)).toEqual(numbers(1, 150));
    expect(events.list.slice(50).map(({ sequence }) => sequence)).toEqual(numbers(1, 100));
    expect(workers.list.slice(50).map(({ sequence }) => sequence)).toEqual(numbers(1, 100));
    // A replay of the new stream goes over into its local events.
    const start = { sequence: 40 };
    const late = await subscribe(client, { pattern: 'orders', start, maxPending: 1000 });
    await publishAll(client, messages('orders', numbers(151, 160)));
    await late.count(71);
    expect(late.list.map(({ sequence }) => sequence)).toEqual(numbers(40, 110));
  });
});
