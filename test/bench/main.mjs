// `npm run bench`: Millrace against grpc-js, in one run, on one machine.
//
//   npm run bench                       every row; writes docs/benchmarks.md and docs/benchmarks.jsonl
//   npm run bench -- --quick            a few rows in under 90 s; writes next to the build's caches
//   npm run bench -- --rows unary,chat --rounds 5 --seconds 2
//   npm run bench -- --rows unary,chat  these rows, on every driver
//   npm run bench -- --rows tls         the rows with TLS
//   npm run bench -- --rows attacks     an honest load beside each attack
//   npm run bench -- --rows fanout      one publisher to many subscribers, beside nats-server
//   npm run bench -- --rows start       how long a new service takes to listen
//
// The server has one core, the load generator another. The peers take turns, A B C A B C, and every
// figure is the median of its rounds. A run whose work is not proven (bytes received, replies
// compared) ends the benchmark.

import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ATTACKS_PER_SECOND, measureAttacks } from './attacks.mjs';
import { measureClients } from './clients.mjs';
import { measureFanout } from './fanout/measure.mjs';
import { fanoutRows, fanoutRowsNamed } from './fanout/rows.mjs';
import { holdIdleConnections } from './idle.mjs';
import { machine } from './machine.mjs';
import { calibrate, measure, missing } from './measure.mjs';
import { driverNames, millraceIsBuilt, peerNames, start } from './peers.mjs';
import { pinned, residentBytes } from './processes.mjs';
import { rowNamed, rows, rowsNamed } from './rows.mjs';
import { measureStarts } from './start.mjs';
import { report } from './table.mjs';

/** @typedef {import('./measure.mjs').Result} Result */
/** @typedef {import('./rows.mjs').Row} Row */
/** @typedef {import('./peers.mjs').PeerName} PeerName */
/** @typedef {Result & { round: number }} Entry */
/** @typedef {import('./clients.mjs').ClientResult} ClientResult */
/** @typedef {import('./fanout/measure.mjs').FanoutResult} FanoutResult */
/** @typedef {import('./start.mjs').StartResult} StartResult */
/** @typedef {{ peer: PeerName, connections: number, bytesPerConnection: number }} IdleMemory */

const IDLE_CONNECTIONS = 10_000;

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rows: { type: 'string' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    peers: { type: 'string' },
  },
});
const rounds = Number(values.rounds ?? (values.quick ? 2 : 3));
const seconds = Number(values.seconds ?? (values.quick ? 0.8 : 3));
const chosenFanoutRows =
  values.rows?.split(',').flatMap(fanoutRowsNamed) ??
  fanoutRows.filter((row) => !values.quick || row.quick === true);
const chosenRows =
  values.rows
    ?.split(',')
    .filter(
      (name) =>
        !['idle', 'clients', 'attacks', 'start'].includes(name) &&
        fanoutRowsNamed(name).length === 0,
    )
    .flatMap(rowsNamed) ?? rows.filter((row) => !values.quick || row.quick === true);
const withIdle = values.rows === undefined ? !values.quick : values.rows.includes('idle');
const withClients = values.rows?.includes('clients') ?? !values.quick;
const withAttacks = values.rows?.includes('attacks') ?? false;
const withStarts = values.rows?.split(',').includes('start') ?? !values.quick;
const wanted = (/** @type {PeerName} */ peer) => values.peers?.split(',').includes(peer) ?? true;
const peers = peerNames.filter(wanted);
const drivers = values.quick ? [] : driverNames.filter(wanted);

const folder = new URL(
  values.quick || values.rows !== undefined
    ? '../../node_modules/.cache/millrace/bench/'
    : '../../docs/',
  import.meta.url,
);
const lines = fileURLToPath(new URL('benchmarks.jsonl', folder));
const table = fileURLToPath(new URL('benchmarks.md', folder));
mkdirSync(dirname(lines), { recursive: true });
rmSync(lines, { force: true });

if (!millraceIsBuilt()) {
  throw new Error('Millrace is not built: `npm run setup` builds it.');
}
if (!pinned) say('NOTE: server and generator share their cores here; read the ratios with care.');

/** @type {Entry[]} */
const results = [];
/** @type {IdleMemory[]} */
const idleMemory = [];
/** @type {ClientResult[]} */
const clientResults = [];
/** @type {FanoutResult[]} */
const fanoutResults = [];
/** @type {StartResult[]} */
const startResults = [];
/** @type {string[]} */
const skipped = [];

for (const row of chosenRows) {
  const reason = await missing(row.generator);
  if (reason !== undefined) {
    say(`SKIPPED ${row.title}: ${row.generator} ${reason}`);
    skipped.push(`${row.title}: ${reason.split('\n')[0]}`);
    continue;
  }
  say(row.title);
  await measureRow(row);
}
if (withIdle) {
  for (const peer of peers) await measureIdle(peer);
}
if (withClients) {
  say('Clients');
  await measureClients(peers, rounds, seconds, (result) => {
    clientResults.push(result);
    appendFileSync(lines, `${JSON.stringify(result)}\n`);
    say(
      `  ${result.row} ${result.peer.padEnd(9)} ${Math.round(result.messagesPerSecond).toLocaleString('en')} messages/s, ${result.cpuMicroseconds.toFixed(2)} µs CPU each`,
    );
  });
}

if (chosenFanoutRows.length > 0) {
  say('Fan-out');
  await measureFanout(chosenFanoutRows, peers, drivers, rounds, seconds, {
    begin: (row) => say(row.title),
    keep: (result) => {
      fanoutResults.push(result);
      appendFileSync(lines, `${JSON.stringify(result)}\n`);
      say(
        `  ${result.peer.padEnd(11)} ${Math.round(result.messagesPerSecond).toLocaleString('en')} deliveries/s, ${Math.round(result.cpuMicroseconds * 1000)} ns CPU each, generator ${Math.round(result.generatorBusy * 100)} % busy`,
      );
    },
    skip: (what, reason) => {
      say(`SKIPPED Fan-out of ${what}: ${reason}`);
      skipped.push(`Fan-out of ${what}: ${reason.split('\n')[0]}`);
    },
  });
}

if (withStarts) {
  say('From the start of a process until it listens');
  await measureStarts((result) => {
    startResults.push(result);
    appendFileSync(lines, `${JSON.stringify(result)}\n`);
    const { program, milliseconds, lowest, highest, ratio } = result;
    say(
      `  ${program.padEnd(16)} ${milliseconds.toFixed(0)} ms (${lowest.toFixed(0)}–${highest.toFixed(0)}), ${ratio.toFixed(1)} × an empty program`,
    );
  });
}

if (withAttacks) {
  say(`Attacks, ${ATTACKS_PER_SECOND} connections a second`);
  await measureAttacks(rounds, seconds, (result) => {
    appendFileSync(lines, `${JSON.stringify(result)}\n`);
    say(
      `  ${result.attack.padEnd(20)} ${(result.ratio * 100).toFixed(0)} % of ${Math.round(result.alone).toLocaleString('en')} messages/s, ${result.counted} of ${result.connections} connections cut so far, ${result.cpuMilliseconds.toFixed(1)} ms CPU for each`,
    );
  });
}

const written = report({
  ...{
    machine: machine(),
    results,
    idleMemory,
    clientResults,
    fanoutResults,
    startResults,
    skipped,
    rounds,
    seconds,
  },
});
writeFileSync(table, written);
say(`\n${written}`);
say(`Written: ${table} and ${lines}`);

/** @param {Row} row */
async function measureRow(row) {
  const servers = await Promise.all(peers.map((peer) => start(peer, row)));
  if (row.drivers === true) servers.push(...(await startDrivers(row)));
  try {
    const amounts = [];
    for (const server of servers) amounts.push(await calibrate(row, server, seconds));
    for (let round = 0; round < rounds; round++) {
      for (const [index, server] of servers.entries()) {
        keep({ round, ...(await measure(row, server, amounts[index] ?? 0, seconds)) });
      }
    }
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/**
 * The drivers that run on this kernel.
 *
 * @param {Row} row
 */
async function startDrivers(row) {
  /** @type {import('./peers.mjs').Server[]} */
  const servers = [];
  for (const driver of drivers) {
    try {
      servers.push(await start(driver, row));
    } catch (error) {
      const reason = Object(error).message;
      say(`SKIPPED ${row.title} on ${driver}: ${reason}`);
      skipped.push(`${row.title} on driver ${driver}: ${reason}`);
    }
  }
  return servers;
}

/**
 * The same load on the same server, without and with idle connections, in turns.
 *
 * @param {PeerName} peer
 */
async function measureIdle(peer) {
  const base = rowNamed('unary');
  const without = { ...base, name: 'idle-0', title: 'Say, 64 B, before idle connections' };
  const present = { ...base, name: 'idle-10000', title: 'Say, 64 B, 10,000 idle connections' };
  say(`${present.title}: ${peer}`);
  const server = await start(peer);
  try {
    const messages = await calibrate(without, server, seconds);
    for (let round = 0; round < rounds; round++) {
      keep({ round, ...(await measure(without, server, messages, seconds)) });
      const before = residentBytes(server.pid);
      const idle = await holdIdleConnections(server.port, IDLE_CONNECTIONS);
      try {
        const grown = residentBytes(server.pid) - before;
        // Later rounds reuse what the first one allocated.
        if (round === 0) {
          const bytesPerConnection = grown / IDLE_CONNECTIONS;
          idleMemory.push({ peer, connections: IDLE_CONNECTIONS, bytesPerConnection });
          say(
            `  ${peer.padEnd(9)} ${Math.round(bytesPerConnection)} B of memory per idle connection`,
          );
        }
        keep({ round, ...(await measure(present, server, messages, seconds)) });
      } finally {
        await idle.stop();
      }
    }
  } finally {
    await server.stop();
  }
}

/** @param {Entry} entry */
function keep(entry) {
  results.push(entry);
  appendFileSync(
    lines,
    `${JSON.stringify(entry, (_key, value) => (typeof value === 'bigint' ? Number(value) : value))}\n`,
  );
  const { latencyMicroseconds: latency } = entry;
  const figure =
    latency === undefined
      ? `${Math.round(entry.messagesPerSecond).toLocaleString('en')} messages/s`
      : `p50 ${latency.p50} µs, p99 ${latency.p99} µs`;
  say(
    `  ${entry.peer.padEnd(9)} ${figure}, ${entry.cpuMicroseconds.toFixed(2)} µs CPU each, generator ${Math.round(entry.generatorBusy * 100)} % busy`,
  );
}

/** @param {string} text */
function say(text) {
  process.stdout.write(`${text}\n`);
}
