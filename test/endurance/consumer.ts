// A consumer of the endurance test: takes what it is given, writes it down, acknowledges it a moment later.
// When its stream ends it opens another one, with the next server.

import { setTimeout as delay } from 'node:timers/promises';
import { type ConsumeRequestInit, PubSub } from '@millrace/pubsub';
import { connect, StatusError } from 'millrace';
import { durationFromMs } from 'millrace/codec';
import { DiaryWriter, Kind } from './diary.js';
import type { ConsumerSettings } from './options.js';

const settings = JSON.parse(process.env['MILLRACE_ENDURANCE'] ?? '{}') as ConsumerSettings;
/** An event takes up to so long: there are always some that are not done with. */
const WORK_MS_MOST = 50;
const LOOK_EVERY_MS = 2;
const AGAIN_MS = 50;

const diary = new DiaryWriter(settings.diary);
const servers = settings.ports.map((port) => ({
  port,
  client: connect(PubSub, `127.0.0.1:${port}`, { backoff: { initialMs: 50, mostMs: 500 } }),
}));

for (let turn = 0; ; turn++) {
  const { client, port } = servers[turn % servers.length]!;
  try {
    await consume(client.consume(), port);
  } catch (error) {
    if (!StatusError.is(error)) throw error;
  }
  await delay(AGAIN_MS);
}

type Call = ReturnType<(typeof servers)[number]['client']['consume']>;

interface Work {
  readonly event: number;
  readonly sequence: bigint;
  readonly until: number;
}

async function consume(call: Call, port: number): Promise<void> {
  const { pattern, group, credit, ackWaitMs } = settings;
  const write = (kind: ConsumeRequestInit['kind']) => call.write({ kind });
  write({
    case: 'open',
    value: {
      pattern,
      group,
      maxPending: credit,
      ackWait: durationFromMs(ackWaitMs),
      start: { at: { case: 'earliest', value: true } },
    },
  });
  diary.write(Kind.OPENED, port);
  let work: Work[] = [];
  const timer = setInterval(() => {
    const now = performance.now();
    const done = work.filter(({ until }) => until <= now);
    if (done.length === 0) return;
    work = work.filter(({ until }) => until > now);
    for (const { event, sequence } of done) {
      diary.write(Kind.ACKNOWLEDGING, event, Number(sequence));
      write({ case: 'ack', value: sequence });
    }
    write({ case: 'credit', value: done.length });
  }, LOOK_EVERY_MS);
  try {
    for await (const { payload, sequence, deliveryAttempt } of call) {
      const event = Buffer.from(payload.buffer, payload.byteOffset, payload.length).readUInt32LE();
      diary.write(Kind.DELIVERED, event, Number(sequence), deliveryAttempt);
      work.push({ event, sequence, until: performance.now() + Math.random() * WORK_MS_MOST });
    }
  } finally {
    clearInterval(timer);
    diary.write(Kind.CLOSED);
  }
}
