// Publishes events on one stream: `npm run publish -w examples/pubsub -- --topic a.b --count 1000`.

import { setTimeout as delay } from 'node:timers/promises';
import { PubSub } from '@millrace/pubsub';
import { connect, connection, StatusError } from 'millrace';
import { readArguments, target, whole } from './arguments.js';
import { number, Rate, showCounters } from './counters.js';

/** Publications whose reply is still to come. Where a subscriber blocks, replies stay away. */
const OPEN_MAX = 256;
/** Digits of the number that each payload begins with. */
const DIGITS = 8;

const given = readArguments('publish', {
  topic: { meaning: 'tokens with dots between them', default: 'example.events' },
  count: { meaning: 'events', default: '1000' },
  rate: { meaning: 'events a second; 0: as fast as they are taken', default: '0' },
  size: { meaning: `bytes of a payload, at least ${DIGITS}`, default: '128' },
  target,
});
const count = whole('count', given.count, 1);
const rate = whole('rate', given.rate);
const size = whole('size', given.size, DIGITS);

const server = connection(given.target);
const call = connect(PubSub, server).publishStream();

let sent = 0;
let answered = 0;
let delivered = 0;
let duplicates = 0;
let lastSequence = 0n;
let waitedMs = 0;
let proceed: (() => void) | undefined;

/** Replies come in the order of the requests. */
async function readReplies(): Promise<void> {
  for await (const reply of call) {
    answered++;
    delivered += reply.delivered;
    if (reply.duplicate) duplicates++;
    lastSequence = reply.sequence;
    proceed?.();
  }
}

async function publish(): Promise<void> {
  const payload = Buffer.alloc(size, '.');
  const start = performance.now();
  while (sent < count) {
    if (rate > 0) {
      // What a slow subscriber has held up is not made up for.
      const dueMs = start + waitedMs + (sent / rate) * 1000;
      const earlyMs = dueMs - performance.now();
      if (earlyMs > 1) await delay(earlyMs);
    }
    const before = performance.now();
    while (sent - answered >= OPEN_MAX) {
      await new Promise<void>((resolve) => {
        proceed = resolve;
      });
    }
    payload.write(String(sent % 10 ** DIGITS).padStart(DIGITS, '0'));
    // `false`: the server has much to read.
    if (!call.write({ topic: given.topic, payload })) await call.writable();
    waitedMs += performance.now() - before;
    sent++;
  }
  call.end();
}

const speed = new Rate();
const counters = showCounters(() =>
  [
    `published ${number(answered)} of ${number(count)} (${speed.of(answered)})`,
    `delivered ${number(delivered)}`,
    `waited ${(waitedMs / 1000).toFixed(1)} s`,
    ...(lastSequence > 0n ? [`last sequence ${lastSequence}`] : []),
    ...(duplicates > 0 ? [`duplicates ${number(duplicates)}`] : []),
  ].join(' · '),
);
try {
  const reading = readReplies();
  // Either side may be the first to hear that the call has failed; the replies say why.
  await Promise.all([reading, publish().catch(() => reading)]);
  counters.stop();
} catch (error) {
  counters.stop();
  if (!(error instanceof StatusError)) throw error;
  process.exitCode = 1;
  process.stderr.write(`${error.message}\n`);
} finally {
  await server.close();
}
