// Fan-out: what it costs a server to hand one event to one subscriber. Publishing, and answering the
// publisher, is part of it: CPU time of the whole process by the number of deliveries.
//
// The peers take turns. Their subscribers stay connected for all rounds of a row; what they got is
// verified for each round by one subscriber that compares every event, and for the others by their
// bytes when the row ends.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { missing } from '../measure.mjs';
import { start } from '../peers.mjs';
import { cpuSeconds } from '../processes.mjs';
import { grpcLoad } from './grpc.mjs';
import { natsIsMissing, natsLoad, startNats } from './nats.mjs';

/** @typedef {import('./rows.mjs').FanoutRow} FanoutRow */
/** @typedef {import('../peers.mjs').PeerName | 'nats-server'} FanoutPeerName */

/**
 * @typedef {object} FanoutResult
 * @property {string} row
 * @property {FanoutPeerName} peer
 * @property {string} server what it is
 * @property {number} round
 * @property {number} deliveries
 * @property {number} seconds
 * @property {number} messagesPerSecond deliveries
 * @property {number} cpuMicroseconds the server's, per delivery
 * @property {number} generatorBusy share of its core, 0 … 1
 * @property {number} bytes that one subscriber got
 */

const WARM_UP_SECONDS = 1.5;
const IDLE_MS = 100;
const IDLE_MS_MAX = 10_000;

/**
 * @param {readonly FanoutRow[]} rows
 * @param {readonly import('../peers.mjs').PeerName[]} peers
 * @param {readonly import('../peers.mjs').PeerName[]} drivers beside them, where a row compares all
 * @param {number} rounds
 * @param {number} seconds
 * @param {object} report
 * @param {(row: FanoutRow) => void} report.begin
 * @param {(result: FanoutResult) => void} report.keep
 * @param {(what: string, reason: string) => void} report.skip
 */
export async function measureFanout(rows, peers, drivers, rounds, seconds, { begin, keep, skip }) {
  const without = await missing('h2load');
  if (without !== undefined) {
    skip('every server', without);
    return;
  }
  const scratch = mkdtempSync(join(tmpdir(), 'millrace-fanout-'));
  try {
    const reason = await natsIsMissing();
    if (reason !== undefined) skip('nats-server', reason);
    for (const row of rows) {
      begin(row);
      const runners = [];
      try {
        if (reason === undefined) runners.push(await nats(row, scratch));
        for (const peer of peers) runners.push(await grpc(row, peer, scratch));
        for (const driver of row.drivers === true ? drivers : []) {
          try {
            runners.push(await grpc(row, driver, scratch));
          } catch (error) {
            skip(`${row.title} on driver ${driver}`, Object(error).message);
          }
        }
        const amounts = [];
        for (const runner of runners) amounts.push(await calibrate(runner, row, seconds));
        for (let round = 0; round < rounds; round++) {
          for (const [index, runner] of runners.entries()) {
            keep({ row: row.name, round, ...(await measure(runner, row, amounts[index] ?? 0)) });
          }
        }
        for (const runner of runners) await runner.verify();
      } finally {
        for (const runner of runners) await runner.stop();
      }
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * @typedef {object} Runner
 * @property {FanoutPeerName} peer
 * @property {string} name
 * @property {number} pid
 * @property {import('./grpc.mjs').Load} load
 * @property {() => Promise<void>} verify that everybody got everything; ends the server
 * @property {() => Promise<void>} stop
 */

/**
 * @param {FanoutRow} row
 * @param {string} scratch
 * @returns {Promise<Runner>}
 */
async function nats(row, scratch) {
  const server = await startNats(scratch);
  return runner('nats-server', server, () => natsLoad(row, server));
}

/**
 * @param {FanoutRow} row
 * @param {import('../peers.mjs').PeerName} peer
 * @param {string} scratch
 * @returns {Promise<Runner>}
 */
async function grpc(row, peer, scratch) {
  const server = await start(peer, { service: 'pubsub' });
  return runner(peer, server, () => grpcLoad(row, server, scratch));
}

/**
 * @param {FanoutPeerName} peer
 * @param {{ name: string, pid: number, stop: () => Promise<void> }} server
 * @param {() => Promise<import('./grpc.mjs').Load>} subscribe
 * @returns {Promise<Runner>}
 */
async function runner(peer, server, subscribe) {
  const { name, pid } = server;
  try {
    const load = await subscribe();
    return {
      ...{ peer, name, pid, load },
      verify: () => load.verify(server.stop),
      async stop() {
        await load.stop();
        await server.stop();
      },
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/**
 * How many events take about `seconds`, found by runs that warm the server up.
 *
 * @param {Runner} runner
 * @param {FanoutRow} row
 * @param {number} seconds
 */
async function calibrate(runner, row, seconds) {
  let messages = row.batch;
  for (let warm = 0; ; ) {
    const { messages: done, seconds: taken } = await runner.load.run(messages);
    warm += taken;
    const wanted = Math.ceil(Math.min((done / taken) * seconds, done * 10));
    if (warm >= Math.max(WARM_UP_SECONDS, seconds) && taken >= seconds / 4) return wanted;
    messages = wanted;
  }
}

/**
 * @param {Runner} runner
 * @param {FanoutRow} row
 * @param {number} messages
 * @returns {Promise<Omit<FanoutResult, 'row' | 'round'>>}
 */
async function measure({ peer, name, pid, load }, row, messages) {
  await idle([pid, ...load.pids]);
  const before = cpuSeconds(pid) ?? 0;
  const crowdBefore = load.cpuSeconds();
  const done = await load.run(messages);
  const generator = done.cpuSeconds + load.cpuSeconds() - crowdBefore;
  await idle([pid, ...load.pids]);
  const deliveries = done.messages * row.subscribers;
  return {
    peer,
    server: name,
    deliveries,
    seconds: done.seconds,
    messagesPerSecond: deliveries / done.seconds,
    cpuMicroseconds: (((cpuSeconds(pid) ?? 0) - before) / deliveries) * 1e6,
    generatorBusy: Math.min(1, generator / done.seconds),
    bytes: done.bytes,
  };
}

/**
 * Waits until processes use no CPU time: everything has arrived.
 *
 * @param {readonly number[]} pids
 */
async function idle(pids) {
  const used = () => pids.reduce((sum, pid) => sum + (cpuSeconds(pid) ?? 0), 0);
  const until = performance.now() + IDLE_MS_MAX;
  for (let before = used(); performance.now() < until; ) {
    await sleep(IDLE_MS);
    const now = used();
    if (now === before) return;
    before = now;
  }
}
