// One publisher and fifty subscribers, of which two do not keep up: each chose what then happens.

import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { bold, dim, Failure, root, say } from '../steps.mjs';
import { startExample } from './service.mjs';

const TOPIC = 'demo.readings';
const EVENTS = 1500;
const EVENTS_PER_SECOND = 500;
const PAYLOAD_BYTES = 1024;
/** Events that may wait for a subscriber before its policy counts. */
const PENDING = 32;
/** Publications whose reply the publisher waits for before it goes on. */
const OPEN = 32;

/**
 * @typedef {object} Group subscribers that are alike
 * @property {number} count
 * @property {'DROP_OLDEST' | 'BLOCK'} policy
 * @property {number} slowMs for each event
 * @property {string} title
 * @property {string} meaning
 */

/** @type {Group[]} */
const groups = [
  {
    ...{ count: 48, policy: 'DROP_OLDEST', slowMs: 0 },
    title: 'that keep up',
    meaning: 'missed nothing',
  },
  {
    ...{ count: 1, policy: 'DROP_OLDEST', slowMs: 20 },
    title: 'that takes 20 ms for each',
    meaning: 'missed old events, was told how many, and got the last',
  },
  {
    ...{ count: 1, policy: 'BLOCK', slowMs: 4 },
    title: 'that takes 4 ms for each',
    meaning: 'missed nothing: the publisher waited for it',
  },
];

export async function showPubSub() {
  const service = await startExample('pubsub');
  try {
    const subscribers = groups.reduce((sum, { count }) => sum + count, 0);
    say(
      `\n${bold('Publish and subscribe')} ${dim(`1 publisher, ${subscribers} subscribers with a connection each, ${count(EVENTS)} events of 1 KiB at ${EVENTS_PER_SECOND}/s`)}`,
    );
    const { took, waited, received } = await traffic(service.port);
    await service.stop();
    print(took, waited, received);
  } finally {
    service.kill();
  }
}

/**
 * @typedef {object} Received by one subscriber
 * @property {number} events
 * @property {number} dropped as it was told
 * @property {boolean} ordered
 */

/**
 * @param {number} port
 * @returns {Promise<{ took: number, waited: number, received: Received[][] }>} seconds; by group
 */
async function traffic(port) {
  // Built by `setup`, so not to be imported before it.
  /** @param {string} path */
  const load = (path) => import(pathToFileURL(join(root, path)).href);
  const { connect, connection } = await load('framework/dist/index.js');
  const { PubSub, SlowConsumer } = await load('services/pubsub/dist/index.js');
  /** @type {{ close(): Promise<void> }[]} */
  const connections = [];
  const open = () => {
    const own = connection(`127.0.0.1:${port}`);
    connections.push(own);
    return connect(PubSub, own);
  };
  try {
    const subscriptions = groups.map((group) =>
      Array.from({ length: group.count }, () => ({
        group,
        stream: open().subscribe({
          pattern: 'demo.*',
          slowConsumer: SlowConsumer[`SLOW_CONSUMER_${group.policy}`],
          maxPending: PENDING,
        }),
      })),
    );
    // Once its headers are there a subscription misses nothing.
    await Promise.all(subscriptions.flat().map(({ stream }) => stream.headers));
    const received = subscriptions.map((alike) =>
      Promise.all(alike.map(({ group, stream }) => read(stream, group.slowMs))),
    );
    const { took, waited } = await publish(open());
    return { took, waited, received: await Promise.all(received) };
  } finally {
    await Promise.all(connections.map((own) => own.close()));
  }
}

/**
 * Reads until the last event.
 *
 * @param {AsyncIterable<{ payload: Uint8Array, dropped: bigint }>} stream
 * @param {number} slowMs
 * @returns {Promise<Received>}
 */
async function read(stream, slowMs) {
  let events = 0;
  let dropped = 0;
  let last = -1;
  let ordered = true;
  for await (const event of stream) {
    const number = Buffer.from(event.payload).readUInt32BE();
    events++;
    dropped += Number(event.dropped);
    ordered &&= number > last;
    last = number;
    if (number === EVENTS - 1) break;
    if (slowMs > 0) await delay(slowMs);
  }
  return { events, dropped, ordered };
}

/**
 * Publishes all events at their rate, or as fast as the slowest subscriber under BLOCK lets it.
 *
 * @param {any} client
 */
async function publish(client) {
  const call = client.publishStream();
  let answered = 0;
  /** @type {(() => void) | undefined} */
  let proceed;
  const replies = (async () => {
    for await (const _ of call) {
      answered++;
      proceed?.();
    }
  })();
  // Reported below; until then it must not be a rejection that nobody has heard of.
  replies.catch(() => {});
  const start = performance.now();
  let waitedMs = 0;
  for (let number = 0; number < EVENTS; number++) {
    const earlyMs = start + waitedMs + (number / EVENTS_PER_SECOND) * 1000 - performance.now();
    if (earlyMs > 1) await delay(earlyMs);
    const before = performance.now();
    while (number - answered >= OPEN) {
      await Promise.race([
        replies,
        new Promise((resolve) => {
          proceed = () => resolve(undefined);
        }),
      ]);
    }
    waitedMs += performance.now() - before;
    const payload = Buffer.alloc(PAYLOAD_BYTES);
    payload.writeUInt32BE(number);
    call.write({ topic: TOPIC, payload });
  }
  call.end();
  await replies;
  return { took: (performance.now() - start) / 1000, waited: waitedMs / 1000 };
}

/**
 * @param {number} took
 * @param {number} waited
 * @param {Received[][]} received
 */
function print(took, waited, received) {
  const head = ['subscribers', 'policy', 'received', 'dropped', ''];
  const rows = groups.map(({ count: members, policy, title, meaning }, index) => {
    const all = received[index] ?? [];
    for (const { events, dropped, ordered } of all) {
      if (events + dropped !== EVENTS || !ordered) {
        throw new Failure(
          `A subscriber ${title} received ${events} and missed ${dropped} of ${EVENTS} events, ${ordered ? '' : 'not '}in order.`,
        );
      }
    }
    return [
      `${String(members).padStart(2)} ${title}`,
      policy,
      range(all.map(({ events }) => events)),
      range(all.map(({ dropped }) => dropped)),
      meaning,
    ];
  });
  const widths = head.map((title, column) =>
    Math.max(...[head, ...rows].map((row) => (row[column] ?? title).length)),
  );
  /** @param {string[]} row @param {(text: string) => string} style */
  const line = (row, style) =>
    say(
      `  ${row
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          const text = column === 2 || column === 3 ? cell.padStart(width) : cell.padEnd(width);
          return column === 4 ? dim(cell) : style(text);
        })
        .join('  ')}`.trimEnd(),
    );
  say('');
  line(head, dim);
  for (const row of rows) line(row, (text) => text);
  say(
    `\n  The publisher took ${took.toFixed(1)} s instead of ${(EVENTS / EVENTS_PER_SECOND).toFixed(1)}: ${waited.toFixed(1)} s it was blocked, by the one subscriber that asked for it.`,
  );
}

/** @param {number[]} values */
function range(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most ? count(least) : `${count(least)} to ${count(most)}`;
}

/** @param {number} value */
function count(value) {
  return value.toLocaleString('en');
}
