// Subscribes and counts: `npm run subscribe -w examples/pubsub -- --pattern 'a.>' [--slow 100]`.
// Ctrl-C ends it.

import { setTimeout as delay } from 'node:timers/promises';
import { PubSub, SlowConsumer, type StartAtInit } from '@millrace/pubsub';
import { connect, connection, StatusError } from 'millrace';
import { fail, readArguments, target, whole } from './arguments.js';
import { number, Rate, showCounters } from './counters.js';

/** What the server does when a subscriber has too many events waiting. */
const policies = new Map<string, SlowConsumer>([
  ['default', SlowConsumer.SLOW_CONSUMER_UNSPECIFIED],
  ['block', SlowConsumer.SLOW_CONSUMER_BLOCK],
  ['drop-oldest', SlowConsumer.SLOW_CONSUMER_DROP_OLDEST],
  ['drop-newest', SlowConsumer.SLOW_CONSUMER_DROP_NEWEST],
  ['disconnect', SlowConsumer.SLOW_CONSUMER_DISCONNECT],
]);

const given = readArguments('subscribe', {
  pattern: { meaning: "* is one token, a last > is the rest: 'a.*.c', 'a.>'", default: '>' },
  policy: { meaning: `when it is slow: ${[...policies.keys()].join(', ')}`, default: 'default' },
  slow: { meaning: 'milliseconds for each event', default: '0' },
  pending: { meaning: "events that may wait for it; 0: the server's default", default: '0' },
  group: { meaning: 'each event goes to one of the group', default: '' },
  from: { meaning: "'now', 'earliest' or a sequence", default: 'now' },
  count: { meaning: 'ends after so many events; 0: never', default: '0' },
  target,
});
const slowConsumer = policies.get(given.policy);
if (slowConsumer === undefined) {
  fail(`--policy is ${given.policy}, but has to be one of ${[...policies.keys()].join(', ')}.`);
}
const slowMs = whole('slow', given.slow);
const maxPending = whole('pending', given.pending);
const count = whole('count', given.count);

const server = connection(given.target);
const events = connect(PubSub, server).subscribe({
  pattern: given.pattern,
  group: given.group,
  start: startAt(given.from),
  ...{ slowConsumer, maxPending },
});

let received = 0;
let dropped = 0n;
let lastSequence = 0n;
let interrupted = false;
let over = false;

function startAt(from: string): StartAtInit | undefined {
  if (from === 'now') return undefined;
  if (from === 'earliest') return { at: { case: 'earliest', value: true } };
  return { at: { case: 'sequence', value: BigInt(whole('from', from, 1)) } };
}

process.once('SIGINT', () => {
  interrupted = true;
  events.cancel();
});

const speed = new Rate();
const counters = showCounters(() =>
  [
    `received ${number(received)} (${speed.of(received)})`,
    `dropped ${number(Number(dropped))}`,
    ...(lastSequence > 0n ? [`last sequence ${lastSequence}`] : []),
  ].join(' · '),
);
try {
  events.headers.then(() => {
    // From here on every event that is published is seen. Headers come, too, with a call that fails.
    setImmediate(() => {
      if (!over) process.stdout.write(`subscribed to ${given.pattern}\n`);
    });
  });
  for await (const event of events) {
    received++;
    dropped += event.dropped;
    lastSequence = event.sequence;
    if (received === count) break;
    if (slowMs > 0) await delay(slowMs);
  }
  counters.stop();
} catch (error) {
  counters.stop();
  if (!(error instanceof StatusError)) throw error;
  if (!interrupted) {
    process.exitCode = 1;
    process.stderr.write(`${error.message}\n`);
  }
} finally {
  over = true;
  await server.close();
}
