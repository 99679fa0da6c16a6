// Queue groups of Subscribe over NATS, whose members may have patterns of their own.

import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { administer, ever, type Node, type Recorded } from '../support/nats-link.js';
import { natsServerInstalled } from '../support/nats-server.js';
import { natsSetting } from '../support/nats-setting.js';
import { numbers } from '../support/numbers.js';
import { messages, publishAll, pubSubClient, subscribe } from '../support/pubsub-client.js';
import { startNatsNode } from '../support/pubsub-nats-node.js';

const installed = natsServerInstalled('queue groups over NATS');

describe.skipIf(!installed)('a queue group over NATS', () => {
  const nats = natsSetting();
  const { node } = nats;

  async function join(to: Node, pattern: string, group = 'workers') {
    const options = { pattern, group, start: undefined, blocking: false };
    const { topics, release } = await to.link.interest(options, ever);
    return Object.assign(to.topics(topics), { release });
  }

  const passedOnBy = ({ link }: Node) => link.stats()['queueEventsPassedOn']!;

  /** Waits for so many events of all together. */
  async function gathered(members: readonly Recorded[], count: number) {
    const total = () => members.reduce((sum, { events }) => sum + events.length, 0);
    while (total() < count) {
      await Promise.race(members.map((each) => each.reaches(each.events.length + 1)));
    }
    return members.flatMap(({ events }) => events);
  }

  /** Events of a topic come in its order to each. */
  function inOrder(members: readonly Recorded[]): void {
    for (const { events } of members) {
      const last = new Map<string, bigint>();
      for (const { topic, sequence } of events) {
        expect(sequence).toBeGreaterThan(last.get(topic) ?? 0n);
        last.set(topic, sequence);
      }
    }
  }

  test.each([
    ['of one process', false],
    ['of several processes', true],
  ])('members %s whose patterns overlap get each event once', async (_what, several) => {
    const a = node();
    const [b, c] = several ? [node(), node()] : [a, a];
    const members = [
      await join(a, 'orders.>'),
      await join(b, 'orders.eu.*'),
      await join(c, '*.eu.created'),
    ];
    const [wide, eu, created] = [members[0]!, members[1]!, members[2]!];
    const topics = ['orders.us.paid', 'orders.eu.paid', 'orders.eu.created', 'bills.eu.created'];
    for (let index = 0; index < 400; index++) await a.publish(topics[index % 4]!, String(index));
    await a.publish('elsewhere', 'for nobody');
    // Everything before it has come when an event of the same reader has.
    await a.publish('orders.us.paid', '400');
    const events = await gathered(members, 401);
    expect(events.map((event) => Number(event.text)).sort((x, y) => x - y)).toEqual(
      numbers(0, 400).map(Number),
    );
    inOrder(members);
    const topicsOf = ({ events: given }: Recorded) => new Set(given.map(({ topic }) => topic));
    expect(topicsOf(wide)).not.toContain('bills.eu.created');
    expect(topicsOf(eu)).toEqual(new Set(['orders.eu.paid', 'orders.eu.created']));
    expect(topicsOf(created)).toEqual(new Set(['orders.eu.created', 'bills.eu.created']));
    // Another group has its own.
    const others = await join(b, '>', 'others');
    await a.publish('orders.eu.created', 'last');
    expect(await others.reaches(1)).toMatchObject([{ text: 'last' }]);
    expect((await gathered(members, 402)).filter((event) => event.text === 'last')).toHaveLength(1);
  });

  test('transient events, too', async () => {
    const [a, b] = [node(), node()];
    const members = [await join(a, 'ticks.>'), await join(a, 'ticks.*'), await join(b, '*.x')];
    for (let index = 0; index < 300; index++) await a.publish('ticks.x', String(index));
    const events = await gathered(members, 300);
    await a.publish('ticks.x', 'last');
    await gathered(members, 301);
    expect(new Set(events.map((event) => event.text)).size).toBe(300);
    expect(members.flatMap((each) => each.events)).toHaveLength(301);
  });

  test('who reads for the group leaves, or is killed: another one goes on where it was', async () => {
    const [first, second, third] = [node(), node(), node()];
    const reading = await join(first, 'orders.a');
    const members = [await join(second, 'orders.>'), await join(third, 'orders.b')];
    await third.publish('orders.b', '1');
    await gathered(members, 1);
    expect(first.link.stats()).toMatchObject({ queueEventsPassedOn: 1, queueEvents: 0 });
    reading.release();
    // What was on its way to it is passed on by it.
    for (const each of numbers(2, 100)) await third.publish('orders.b', each);
    await gathered(members, 100);
    const passedOn = () => [first, second, third].map(passedOnBy);
    expect(passedOn().reduce((sum, each) => sum + each, 0)).toBe(100);
    const reader = passedOnBy(second) > 0 ? second : third;
    const other = reader === second ? third : second;
    await reader.link.close();
    for (const each of numbers(101, 200)) await other.publish('orders.b', each);
    const left = members[other === second ? 0 : 1]!;
    await eventually('the last one has come', () => left.events.at(-1)?.text === '200');
    expect(passedOnBy(other)).toBeGreaterThan(0);
    const texts = members.flatMap(({ events }) => events.map((event) => event.text));
    expect(texts.sort((x, y) => Number(x) - Number(y))).toEqual(numbers(1, 200));
    inOrder(members);
  });

  test('nats-server restarts: the group goes on where it was, each event once', async () => {
    const [a, b] = [node(), node()];
    const members = [await join(a, 'orders.>'), await join(b, 'orders.*')];
    for (let turn = 0; turn < 3; turn++) {
      for (let index = 0; index < 50; index++) {
        await a.publish('orders.x', String(50 * turn + index), `id ${50 * turn + index}`);
      }
      await gathered(members, 50 * (turn + 1));
      await nats.server.kill();
      await nats.server.start();
    }
    await a.publish('orders.x', '150');
    const events = await gathered(members, 151);
    expect(events.map((event) => Number(event.text)).sort((x, y) => x - y)).toEqual(
      numbers(0, 150).map(Number),
    );
  });

  test('a consumer that is deleted in NATS is made anew', async () => {
    const a = node();
    const member = await join(a, 'orders');
    await a.publish('orders', '1');
    await member.reaches(1);
    await administer(nats.server, (manager) =>
      manager.consumers.delete(nats.stream, 'queue_workers'),
    );
    await eventually('it is there again', () =>
      administer(nats.server, (manager) =>
        manager.consumers.info(nats.stream, 'queue_workers').then(
          ({ push_bound }) => push_bound === true,
          () => false,
        ),
      ),
    );
    await a.publish('orders', '2');
    expect((await member.reaches(2))[1]).toMatchObject({ text: '2', sequence: 2n });
  });

  test('from outside, over two processes: each event to one member, in order', async () => {
    const { settings } = nats;
    const nodes = await Promise.all([startNatsNode(settings), startNatsNode(settings)]);
    const [one, other] = nodes.map(pubSubClient);
    const patterns = ['orders.>', 'orders.eu', '*.eu'];
    const members = await Promise.all(
      [one!, other!].flatMap((client) =>
        patterns.map((pattern) => subscribe(client, { pattern, group: 'g', maxPending: 10_000 })),
      ),
    );
    await Promise.all([
      publishAll(one!, messages('orders.eu', numbers(1, 600))),
      publishAll(other!, messages('orders.eu', numbers(601, 1200))),
    ]);
    const all = () => members.flatMap(({ list }) => list.map(({ payload }) => payload.toString()));
    await eventually('all have come', () => all().length >= 1200);
    expect(new Set(all()).size).toBe(1200);
    expect(all()).toHaveLength(1200);
    for (const { list } of members) {
      const sequences = list.map(({ sequence }) => Number(sequence));
      expect(sequences).toEqual([...sequences].sort((x, y) => x - y));
    }
  });
});
