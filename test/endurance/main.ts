// The proof of "at least once": `npm run endurance -- [--events 1000000] [--kills 60] [--bytes 128] [--seed N]`.
//
// Publishers in this process, servers and consumers in processes of their own, nats-server with its store
// on disk. While a million events go through, consumers, servers and nats-server are killed as by kill -9
// and started again. A ledger of what publishers were told and what consumers have written down proves at
// the end: every event that was acknowledged to its publisher was acknowledged by a consumer; it is in the
// stream once; redeliveries are at most twice what was unacknowledged at the kills; and a consumer, which
// rejects nothing, gets the events of a topic in its order, but for those that a consumer has had before or
// that something had in its hands that was killed.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { JetStreamApiError, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { freePort, NatsServer, natsServerInstalled } from '../support/nats-server.js';
import { random } from '../support/random.js';
import { Lane } from './lane.js';
import { Ledger } from './ledger.js';
import { type EnduranceOptions, readOptions } from './options.js';
import { ConsumerProcess, Killable } from './processes.js';

const SERVERS = 2;
const CONSUMERS = 4;
const LANES = 4;
/** An error code of JetStream. */
const CONSUMER_NOT_FOUND = 10_014;
const SPACE = 'endurance';
const GROUP = 'workers';
const CREDIT = 256;
const ACK_WAIT_MS = 4000;
/** A killed process is started again after at most this. */
const DOWN_MOST_MS = 400;
const LOOK_EVERY_MS = 10;
/** Publishers go on for so much progress when a kill is due: it is to hit work. */
const OVERSHOOT_MOST = 3000;
/** Events that wait for a consumer. */
const BACKLOG_MOST = 4000;
const SAY_EVERY_MS = 5000;
/** Without any progress for so long something is lost. */
const STALLED_MS = 60_000;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function endure({ events, kills, bytes, seed }: EnduranceOptions): Promise<boolean> {
  say(`endurance: ${events} events of ${bytes} bytes, ${kills} kills, --seed ${seed}`);
  const choose = random(seed);
  const ledger = new Ledger(events);
  const folder = mkdtempSync(join(tmpdir(), 'millrace-endurance-'));
  const nats = await NatsServer.start();
  const servers: Killable[] = [];
  const ports: number[] = [];
  for (let index = 0; index < SERVERS; index++) {
    const port = await freePort();
    ports.push(port);
    const server = new Killable(`server ${index}`, './server.js', {
      port,
      space: SPACE,
      nats: { servers: nats.address },
    });
    servers.push(server);
    await server.start();
  }
  const consumers = Array.from({ length: CONSUMERS }, (_, index) => {
    const from = index % SERVERS;
    return new ConsumerProcess(
      `consumer ${index}`,
      {
        ports: [...ports.slice(from), ...ports.slice(0, from)],
        pattern: '>',
        group: GROUP,
        credit: CREDIT,
        ackWaitMs: ACK_WAIT_MS,
        diary: join(folder, `consumer-${index}`),
      },
      ledger,
    );
  });
  for (const consumer of consumers) await consumer.start();
  const began = performance.now();
  let failed: unknown;
  const read = () => {
    for (const consumer of consumers) consumer.read();
  };
  const counts = { consumer: 0, server: 0, nats: 0 };
  let killed = 0;
  const progress = () => ledger.publishedCount + ledger.acknowledgedCount;
  /** Kills are spread over the run, at random moments; at its end there is none. */
  const killAt = Array.from({ length: kills }, (_, index) =>
    Math.floor(((index + 0.1 + choose() * 0.8) / kills) * 1.9 * events),
  );

  /** Publishers wait for consumers, and for a kill that is due. */
  const gate = () =>
    ledger.publishedCount - ledger.acknowledgedCount < BACKLOG_MOST &&
    (killed >= kills || progress() < killAt[killed]! + OVERSHOOT_MOST);
  const lanes = Array.from(
    { length: LANES },
    (_, first) => new Lane({ first, step: LANES, events, bytes, ports }, ledger, gate),
  );
  const running = Promise.all(lanes.map((lane) => lane.run()));
  running.catch((error: unknown) => {
    failed = error;
  });

  async function killOne(): Promise<void> {
    // Not only at moments when this process has looked at something.
    await delay(choose() * 2 * LOOK_EVERY_MS);
    const down = choose.between(0, DOWN_MOST_MS);
    const kind = choose.pick(['consumer', 'server', 'nats'] as const);
    const victim =
      kind === 'nats' ? nats : choose.pick<Killable>(kind === 'server' ? servers : consumers);
    counts[kind]++;
    const pending = await pendingAcknowledgements();
    read();
    const port = ports[servers.indexOf(victim as Killable)];
    const isAffected = (consumer: ConsumerProcess) =>
      kind === 'nats' || consumer === victim || (kind === 'server' && consumer.state.port === port);
    const states = (which: readonly ConsumerProcess[]) => which.map(({ state }) => state);
    ledger.kill(
      states(consumers.filter(isAffected)),
      states(consumers.filter((consumer) => !isAffected(consumer))),
      pending,
      Date.now(),
    );
    await victim.kill();
    read();
    // The streams of a server that was killed are ended by its consumers; those to nats-server stay.
    if (victim instanceof ConsumerProcess) {
      ledger.over(victim.state);
      victim.state.highestEver.fill(0);
    }
    await delay(down);
    await victim.start();
    ledger.restarted(Date.now());
  }

  let said = began;
  let moved = began;
  let last = 0;
  try {
    while (ledger.acknowledgedCount < events || ledger.publishedCount < events) {
      if (failed !== undefined) throw failed;
      for (const { ended } of [...servers, ...consumers]) {
        if (ended !== undefined) throw new Error(`${ended}, and nobody has killed it`);
      }
      await delay(LOOK_EVERY_MS);
      read();
      for (const lane of lanes) lane.goOn();
      const now = performance.now();
      const done = progress();
      if (done !== last) {
        last = done;
        moved = now;
      } else if (now - moved > STALLED_MS) {
        ledger.violation(`nothing has moved for ${STALLED_MS / 1000} s`);
        break;
      }
      if (now - said >= SAY_EVERY_MS) {
        said = now;
        say(line());
      }
      if (killed < kills && done >= killAt[killed]!) {
        killed++;
        await killOne();
      }
    }
    for (const lane of lanes) lane.stop();
    await settle();
    read();
    say(line());
    ledger.check();
    if (killed < kills) ledger.violation(`only ${killed} of ${kills} kills were made`);
  } finally {
    for (const process of [...consumers, ...servers]) await process.kill();
    for (const consumer of consumers) consumer.close();
    await nats.stop();
    rmSync(folder, { recursive: true, force: true });
  }

  /** As far as nats-server has heard. */
  async function pendingAcknowledgements(): Promise<number> {
    const connection = await connect({ servers: nats.address });
    try {
      const manager = await jetstreamManager(connection);
      const info = await manager.consumers.info(`MILLRACE_${SPACE}`, `group_${GROUP}`);
      return info.num_ack_pending;
    } catch (error) {
      // No consumer has joined yet.
      if (error instanceof JetStreamApiError && error.code === CONSUMER_NOT_FOUND) return 0;
      throw error;
    } finally {
      await connection.close();
    }
  }

  /** The server agrees: nothing is left to be delivered, and every event is there once. */
  async function settle(): Promise<void> {
    const connection = await connect({ servers: nats.address });
    const manager = await jetstreamManager(connection);
    const until = performance.now() + 4 * ACK_WAIT_MS;
    for (;;) {
      const consumer = await manager.consumers.info(`MILLRACE_${SPACE}`, `group_${GROUP}`);
      if (consumer.num_pending === 0 && consumer.num_ack_pending === 0) break;
      if (performance.now() > until) {
        ledger.violation(
          `nats-server has ${consumer.num_pending} events to deliver and ${consumer.num_ack_pending} to be acknowledged`,
        );
        break;
      }
      await delay(100);
    }
    const { state } = await manager.streams.info(`MILLRACE_${SPACE}`);
    if (state.messages !== events) {
      ledger.violation(`the stream has ${state.messages} events, and ${events} were published`);
    }
    await connection.close();
  }

  function line(): string {
    const seconds = (performance.now() - began) / 1000;
    return (
      `${seconds.toFixed(0).padStart(5)} s  ${ledger.publishedCount} published, ${ledger.acknowledgedCount} acknowledged; ` +
      `${counts.consumer} + ${counts.server} + ${counts.nats} kills of consumers, servers, nats-server; ` +
      `${ledger.redeliveries} redeliveries, ${ledger.unacknowledged} unacknowledged at kills`
    );
  }

  say('');
  for (const [name, count] of ledger.outcomes) say(`${String(count).padStart(9)}  ${name}`);
  say(
    `endurance ${ledger.violations === 0 ? 'passed' : 'FAILED'}: ${ledger.publishedCount} events published ` +
      `(${ledger.duplicates} found published before), ${ledger.acknowledgedCount} acknowledged, ` +
      `${ledger.deliveries} deliveries on ${ledger.streams} streams, ${ledger.attempts} of them repeated; ${killed} kills; ` +
      `${ledger.redeliveries} redeliveries of ${ledger.unacknowledged} unacknowledged at the kills; ` +
      `${ledger.violations} wrong${ledger.violations === 0 ? '' : `; repeat with --seed ${seed}`}`,
  );
  return ledger.violations === 0;
}

if (!natsServerInstalled('the endurance test')) process.exit(3);
try {
  process.exitCode = (await endure(readOptions(process.argv.slice(2)))) ? 0 : 1;
} catch (error) {
  process.stderr.write(`endurance: ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(2);
}
