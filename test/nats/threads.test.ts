// Pub/sub over NATS in a server with two threads, each of which has a connection of its own.

import { describe, expect, test } from 'vitest';
import { natsServerInstalled } from '../support/nats-server.js';
import { natsSetting } from '../support/nats-setting.js';
import { range } from '../support/numbers.js';
import {
  consume,
  messages,
  publish,
  publishAll,
  pubSubClient,
  subscribe,
} from '../support/pubsub-client.js';
import { startNatsNode } from '../support/pubsub-nats-node.js';

const installed = natsServerInstalled('pub/sub over NATS with threads');
/** A connection lands on either thread. */
const CLIENTS = 12;
const EACH = 100;
const TOTAL = CLIENTS * EACH;

describe.skipIf(!installed)('a server with two threads', () => {
  const nats = natsSetting();

  async function clients() {
    const node = await startNatsNode({ ...nats.settings, threads: 2 });
    return Array.from({ length: CLIENTS }, () => pubSubClient(node));
  }

  const publishFrom = (all: Awaited<ReturnType<typeof clients>>) =>
    Promise.all(
      all.map((client, publisher) =>
        publishAll(client, messages(`t.${publisher}`, range(0, EACH))),
      ),
    );

  test('subscribers of both get what either publishes, with its sequence and in its order', async () => {
    const all = await clients();
    const subscribers = await Promise.all(
      all.map((client) => subscribe(client, { pattern: 't.*', maxPending: 10_000 })),
    );
    const replies = await publishFrom(all);
    const sequences = new Set(replies.flat().map(({ sequence }) => sequence));
    expect(sequences.size).toBe(TOTAL);
    // Those of the publisher's thread.
    const delivered = new Set(replies.flat().map((reply) => reply.delivered));
    expect(Math.max(...delivered)).toBeLessThanOrEqual(CLIENTS);
    for (const subscriber of subscribers) {
      const events = await subscriber.count(TOTAL);
      expect(events.map(({ sequence }) => Number(sequence))).toEqual(
        [...sequences].map(Number).sort((a, b) => a - b),
      );
      const last = new Map<string, number>();
      for (const { topic, payload, dropped } of events) {
        const index = Number(payload.toString());
        expect(index).toBe((last.get(topic) ?? -1) + 1);
        expect(dropped).toBe('0');
        last.set(topic, index);
      }
    }
    const again = await Promise.all(
      all.map((client) => publish(client, { topic: 't.once', messageId: 'once' })),
    );
    expect(again.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
  });

  test('groups are one over both threads', async () => {
    const all = await clients();
    const open = { pattern: 't.*', group: 'billing', maxPending: TOTAL / CLIENTS };
    const consumers = all.map((client) => consume(client, { open }));
    await Promise.all(consumers.map(({ headers }) => headers));
    const workers = await Promise.all(
      all.map((client) =>
        subscribe(client, { pattern: 't.*', group: 'workers', maxPending: 9999 }),
      ),
    );
    const consumed: string[] = [];
    const done = new Promise<void>((resolve) => {
      for (const { call } of consumers) {
        call.on('data', ({ sequence }: { sequence: string }) => {
          call.write({ ack: sequence });
          call.write({ credit: 1 });
          consumed.push(sequence);
          if (consumed.length === TOTAL) resolve();
        });
      }
    });
    const worked: string[] = [];
    const allWorked = new Promise<void>((resolve) => {
      for (const { call } of workers) {
        call.on('data', ({ sequence }: { sequence: string }) => {
          worked.push(sequence);
          if (worked.length === TOTAL) resolve();
        });
      }
    });
    await publishFrom(all);
    await Promise.all([done, allWorked]);
    expect(new Set(consumed).size).toBe(TOTAL);
    expect(new Set(worked).size).toBe(TOTAL);
  });

  test('replays on either thread go over into the live events', async () => {
    const all = await clients();
    await publishFrom(all);
    const subscribers = await Promise.all(
      all.map((client) =>
        subscribe(client, { pattern: 't.*', start: { earliest: true }, maxPending: 10_000 }),
      ),
    );
    await publishFrom(all);
    for (const subscriber of subscribers) {
      const events = await subscriber.count(2 * TOTAL);
      expect(events.map(({ sequence }) => Number(sequence))).toEqual(range(1, 2 * TOTAL + 1));
    }
  });
});
