// Slow subscribers for minutes: `npm run soak -- pubsub [--minutes 10] [--subscribers 1000]
// [--rate 25] [--policies drop-oldest,drop-newest,disconnect,block] [--block-timeout 30]`.
//
// For each policy a server, a tenth of whose subscribers never read. Its memory has to stay bounded, and
// those that read have to get everything, for what it cost before. Under BLOCK the tenth reads slowly
// instead: its publisher keeps their pace, nothing is lost, and publishers of other topics are not kept
// waiting; then subscribers come that never read, and are cut after the timeout.
//
// How many events a second there are is up to the machine and to what else it does. So a short run is not
// judged by a number of them, but by the rates before and with those that never read, of which half has to be
// left. Where rates and costs are averages of a while, rates have to be what was asked for, and costs are
// compared with each other.

import { setTimeout as delay } from 'node:timers/promises';
import { processorMs } from '../../support/probes.js';
import { Memory } from './memory.js';
import { type Options, readOptions } from './options.js';
import { Server, Subscribers } from './processes.js';
import { Publisher } from './publisher.js';
import type { GroupSample, Policy } from './settings.js';

const PAYLOAD_BYTES = 1024;
const MAX_PENDING = 128;
/** Those that read may be behind by so much, and would lose nothing. */
const LEAD_MAX = MAX_PENDING / 2;
/** Events that are more than the first window of a stream, 64 KiB, and the queue hold. */
const OVERFULL = 2 * (MAX_PENDING + (64 * 1024) / PAYLOAD_BYTES);
/** Of the time: before those come that never read. */
const ALONE = 0.2;
const KEPT_LEAST = 0.9;
/** Where rates are not steady: one that was measured for a moment may be that of who catches up. */
const KEPT_LEAST_SHORT = 0.5;
/** What an event may cost with those that never read, by what it cost before. */
const COST_MOST = 1.5;
/**
 * Shorter averages of rates and costs are the machine's: whoever has to wait for the processor takes more
 * events at once then, each of which costs less.
 */
const STEADY_SECONDS = 30;
/** Nothing new for so long: there is no more to come. */
const STUCK_MS = 10_000;
const LOOK_MS = 100;

/** Under BLOCK: what the slow take, and with how many events behind. Large events fill windows soon. */
const SLOW_RATE = 50;
const BLOCK_RATE = 200;
const BLOCK_PAYLOAD_BYTES = 4096;
const BLOCK_MAX_PENDING = 8;
/** Events that fit the largest window of a stream, 256 KiB, and the queue: the publisher's lead. */
const BLOCK_LEAD_MAX = BLOCK_MAX_PENDING + (256 * 1024) / BLOCK_PAYLOAD_BYTES;
/** Who is not kept waiting is answered in so much of the time in which the blocked publisher is. */
const FREE_WAIT_MOST = 0.5;
/** How far behind its time a timeout may be seen: it is looked for once a second. */
const CUT_LATE_MS = 3000;

let violations = 0;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Says a figure, and whether it is as it has to be. */
function check(title: string, value: string, good: boolean): void {
  if (!good) violations++;
  say(`  ${good ? '✓' : '✗'} ${title.padEnd(52)} ${value}`);
}

/** Events a second that each received in between. */
function rates(before: GroupSample, after: GroupSample, seconds: number): number[] {
  return after.received.map((count, index) => (count - before.received[index]!) / seconds);
}

async function withServer(
  { blockTimeoutMs }: Options,
  body: (server: Server, subscribers: Subscribers) => Promise<void>,
): Promise<void> {
  const server = await Server.start({ blockTimeoutMs });
  const subscribers = await Subscribers.start(server.port);
  try {
    await body(server, subscribers);
  } finally {
    await subscribers.stop();
    await server.stop();
  }
}

/** Drops and disconnects: those who never read harm nobody. */
async function soak(policy: Policy, options: Options): Promise<void> {
  const never = options.subscribers / 10;
  const healthy = options.subscribers - never;
  say(
    `\n${policy}: ${healthy} subscribers, ${options.rate} events/s of ${PAYLOAD_BYTES} B; then ${never} more that never read`,
  );
  await withServer(options, async (server, subscribers) => {
    const all = { pattern: 'soak.>', maxPending: MAX_PENDING, policy };
    await subscribers.subscribe({ ...all, name: 'healthy', count: healthy, takes: 'all' });
    const least = async () => {
      const { received } = (await subscribers.samples()).get('healthy')!;
      return Math.min(...received);
    };
    const publisher = new Publisher(
      `127.0.0.1:${server.port}`,
      'soak.events',
      options.rate,
      PAYLOAD_BYTES,
      { slowest: least, leadMax: LEAD_MAX },
    );
    const measured = async (seconds: number, events = 1) => {
      const before = (await subscribers.samples()).get('healthy')!;
      const [start, published] = [performance.now(), publisher.published];
      const usedMs = processorMs(server.pid);
      const end = start + seconds * 1000;
      let [seen, seenAt] = [published, start];
      while (performance.now() < end || publisher.published - published < events) {
        if (publisher.published > seen) [seen, seenAt] = [publisher.published, performance.now()];
        else if (performance.now() - seenAt > STUCK_MS) break;
        await delay(Math.max(LOOK_MS, end - performance.now()));
      }
      const took = (performance.now() - start) / 1000;
      const count = publisher.published - published;
      const costMs = (processorMs(server.pid) - usedMs) / count;
      const after = (await subscribers.samples()).get('healthy')!;
      return { least: Math.min(...rates(before, after, took)), rate: count / took, count, costMs };
    };
    await delay(1000);
    const alone = await measured(options.seconds * ALONE);
    const memory = new Memory(server.pid);
    await subscribers.subscribe({ ...all, name: 'never', count: never, takes: 'none' });
    const together = await measured(options.seconds * (1 - ALONE), OVERFULL);
    const { text, bounded } = memory.end();
    await publisher.stop();

    const cut = await server.disconnected();
    if (policy === 'disconnect' && cut === never) await subscribers.look('never');
    const samples = await settled(subscribers, 'healthy', publisher.published);
    const [reading, unread] = [samples.get('healthy')!, samples.get('never')!];
    const steady = options.seconds * ALONE >= STEADY_SECONDS;
    // Whoever catches up at first receives faster than is published; nobody does so for long.
    const keptLeast = steady ? KEPT_LEAST : KEPT_LEAST_SHORT;
    const kept = keptLeast * Math.min(alone.least, together.rate);
    check(
      'the slowest of the healthy, events/s, before and with',
      `${alone.least.toFixed(1)} · ${together.least.toFixed(1)}`,
      together.least >= kept && (alone.least >= KEPT_LEAST * options.rate || !steady),
    );
    check(
      'published, events/s, before and with',
      `${alone.rate.toFixed(1)} · ${together.rate.toFixed(1)}`,
      together.rate >= keptLeast * (steady ? options.rate : alone.rate),
    );
    check(
      'processor time of the server for an event, ms',
      `${alone.costMs.toFixed(3)} · ${together.costMs.toFixed(3)}`,
      together.costMs <= COST_MOST * alone.costMs || !steady,
    );
    check(
      'published beside those that never read, when more than they hold',
      `${together.count} of ${OVERFULL}`,
      together.count >= OVERFULL,
    );
    const received = Math.min(...reading.received);
    check(
      `the least that a healthy one received, of ${publisher.published}`,
      String(received),
      received === publisher.published,
    );
    check(
      'what the healthy missed: told, not told',
      `${reading.dropped}, ${reading.unaccounted}`,
      reading.unaccounted === 0 && reading.dropped === 0,
    );
    check(
      'healthy subscriptions that ended',
      JSON.stringify(reading.ended),
      Object.keys(reading.ended).length === 0,
    );
    const due = policy === 'disconnect' ? never : 0;
    check(
      'of those that never read, cut; with RESOURCE_EXHAUSTED',
      `${cut}; ${unread.ended['RESOURCE_EXHAUSTED'] ?? 0} of ${never}`,
      cut === due && (unread.ended['RESOURCE_EXHAUSTED'] ?? 0) === due,
    );
    check('memory of the server: at first, most, at the end', text, bounded);
  });
}

/** BLOCK: the slow set the pace of their topic, and of no other. */
async function soakBlock(options: Options): Promise<void> {
  const slow = options.subscribers / 10;
  const fast = options.subscribers - slow;
  say(
    `\nblock: ${fast} subscribers that keep up and ${slow} that take ${SLOW_RATE} events/s of ${BLOCK_PAYLOAD_BYTES} B`,
  );
  await withServer(options, async (server, subscribers) => {
    const target = `127.0.0.1:${server.port}`;
    const group = { policy: 'block', maxPending: BLOCK_MAX_PENDING } as const;
    const paced = { ...group, pattern: 'paced.*' };
    await subscribers.subscribe({ ...paced, name: 'fast', count: fast, takes: 'all' });
    await subscribers.subscribe({ ...paced, name: 'slow', count: slow, takes: SLOW_RATE });
    await subscribers.subscribe({
      ...group,
      ...{ name: 'other', pattern: 'other.*', count: 10, takes: 'all' },
    });
    const memory = new Memory(server.pid);
    const publisher = new Publisher(target, 'paced.events', BLOCK_RATE, BLOCK_PAYLOAD_BYTES);
    const other = new Publisher(target, 'other.events', options.rate, PAYLOAD_BYTES);
    const start = performance.now();
    await delay(options.seconds * 1000);
    const seconds = (performance.now() - start) / 1000;
    // What it has published by now is compared with what they have received a moment later.
    const paceMaker = publisher.published;
    const lead = paceMaker - Math.min(...(await subscribers.samples()).get('slow')!.received);
    const [rate, otherRate] = [paceMaker / seconds, other.published / seconds];
    const [waited, otherWaited] = [publisher.waitedMs(), other.waitedMs()];
    const { text, bounded } = memory.end();
    await publisher.stop();
    await other.stop();
    const samples = await settled(subscribers, 'slow', publisher.published);
    const steady = seconds >= STEADY_SECONDS;
    const off = Math.abs(rate - SLOW_RATE) / SLOW_RATE;
    check('the publisher, events/s', rate.toFixed(1), off <= 1 - KEPT_LEAST || !steady);
    check(
      'the publisher of another topic, events/s',
      otherRate.toFixed(1),
      otherRate >= KEPT_LEAST * options.rate || !steady,
    );
    check(
      'the publisher, events ahead of the slowest',
      `${lead} of ${paceMaker}`,
      lead <= BLOCK_LEAD_MAX,
    );
    check(
      "waits of it and of another topic's",
      `${waited.toFixed(1)} · ${otherWaited.toFixed(1)} ms`,
      otherWaited <= FREE_WAIT_MOST * waited,
    );
    for (const name of ['fast', 'slow']) {
      const { received, dropped, unaccounted, ended } = samples.get(name)!;
      const least = Math.min(...received);
      check(
        `${name}: the least that one received, of ${publisher.published}`,
        `${least}`,
        least === publisher.published &&
          dropped === 0 &&
          unaccounted === 0 &&
          Object.keys(ended).length === 0,
      );
    }
    check('memory of the server: at first, most, at the end', text, bounded);

    const never = Math.max(1, options.subscribers / 100);
    say(`  then ${never} that never read, with a timeout of ${options.blockTimeoutMs / 1000} s`);
    await subscribers.subscribe({
      ...group,
      ...{ name: 'never', pattern: 'cut.*', count: never, takes: 'none' },
    });
    await subscribers.subscribe({
      ...group,
      ...{ name: 'reading', pattern: 'cut.*', count: 10, takes: 'all' },
    });
    const blocked = new Publisher(target, 'cut.events', BLOCK_RATE, BLOCK_PAYLOAD_BYTES);
    const began = performance.now();
    let ended = 0;
    const due = options.blockTimeoutMs + CUT_LATE_MS + 3000;
    while (ended < never && performance.now() - began < due) {
      await delay(100);
      ended = await server.disconnected();
    }
    const after = performance.now() - began;
    await subscribers.look('never');
    const exhausted = (await subscribers.samples()).get('never')!.ended['RESOURCE_EXHAUSTED'];
    check(
      'cut with RESOURCE_EXHAUSTED, after seconds',
      `${ended} of ${never}, ${(after / 1000).toFixed(1)}`,
      ended === never && exhausted === never && after >= options.blockTimeoutMs && after <= due,
    );
    const cutAt = performance.now();
    const goal = blocked.published + BLOCK_RATE / 2;
    while (blocked.published < goal && performance.now() - cutAt < STUCK_MS) await delay(10);
    check(
      `the publisher goes on: ${BLOCK_RATE / 2} events, after seconds`,
      ((performance.now() - cutAt) / 1000).toFixed(1),
      blocked.published >= goal,
    );
    await blocked.stop();
    const reading = (await settled(subscribers, 'reading', blocked.published)).get('reading')!;
    check(
      `the least that others received, of ${blocked.published}`,
      String(Math.min(...reading.received)),
      Math.min(...reading.received) === blocked.published && reading.unaccounted === 0,
    );
  });
}

/** The samples once everybody in a group has received so much, or has received nothing for long. */
async function settled(
  subscribers: Subscribers,
  name: string,
  count: number,
): Promise<ReadonlyMap<string, GroupSample>> {
  let [least, changedAt] = [-1, performance.now()];
  for (;;) {
    const samples = await subscribers.samples();
    const now = Math.min(...samples.get(name)!.received);
    if (now >= count || performance.now() - changedAt > STUCK_MS) return samples;
    if (now !== least) [least, changedAt] = [now, performance.now()];
    await delay(LOOK_MS);
  }
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  for (const policy of options.policies) {
    await (policy === 'block' ? soakBlock(options) : soak(policy, options));
  }
  say(`\nsoak ${violations === 0 ? 'passed' : 'FAILED'}: ${violations} wrong`);
  process.exitCode = violations === 0 ? 0 : 1;
}

try {
  await main();
} catch (error) {
  process.stderr.write(`soak: ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(2);
}
