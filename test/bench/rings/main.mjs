// `npm run bench:rings`: what each ability of io_uring is worth, on the project's own ring crate, beside
// liburing's proxy in the same run.
//
//   npm run bench:rings                         writes the figures and the plot of docs/rings.md
//   npm run bench:rings -- --rounds 1 --milliseconds 200 --packets 128     writes nothing
//   LIBURING_PROXY=<liburing>/examples/proxy npm run bench:rings
//
// Without LIBURING_PROXY, a built program, the columns of liburing stay empty and nothing is written.
//
// A proxy on one core receives packets on 8 connections, with a thread for each, and sends each on; the
// load, both ends of it, is on another core. Ours and theirs take turns, mode by mode, and every figure is the median of its
// rounds. The load compares samples with what has to stand at their place, and in the first round of each
// mode waits for the last byte; wrong or missing bytes end the benchmark.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from '../machine.mjs';
import { pinned } from '../processes.mjs';
import { documented, report, select } from './document.mjs';
import { measure, ourProxy, theirProxy } from './measure.mjs';
import { alone, compared, copying, modes, packets, together, togetherModes } from './modes.mjs';
import { plot } from './plot.mjs';

/** @typedef {import('./measure.mjs').Figure} Figure */
/** @typedef {import('./measure.mjs').Load} Load */
/** @typedef {Figure & Load & { mode: string, by: 'millrace' | 'liburing', round: number }} Entry */

const { values } = parseArgs({
  options: {
    rounds: { type: 'string' },
    milliseconds: { type: 'string' },
    packets: { type: 'string' },
    modes: { type: 'string' },
  },
});
const rounds = Number(values.rounds ?? 7);
const milliseconds = Number(values.milliseconds ?? 250);
const chosenPackets = values.packets?.split(',').map(Number) ?? packets;
const chosenModes = modes.filter(({ name }) => values.modes?.split(',').includes(name) ?? true);

const program = process.env['MILLRACE_RING_PROXY'];
const liburing = process.env['LIBURING_PROXY'];
const whole = liburing !== undefined && Object.values(values).every((value) => value === undefined);
const started = performance.now();

if (process.platform !== 'linux') {
  say(`SKIPPED: io_uring is Linux's, and this is ${process.platform}.`);
} else if (program === undefined) {
  throw new Error(
    'MILLRACE_RING_PROXY is not set; `npm run bench:rings` builds the proxy and sets it.',
  );
} else {
  await compare(program);
}

/** @param {string} ours */
async function compare(ours) {
  if (!pinned) say('NOTE: proxy and load share their cores here; read the ratios with care.');
  if (liburing === undefined) {
    say(
      'SKIPPED the columns of liburing: LIBURING_PROXY does not name its `examples/proxy`, built from a checkout of https://github.com/axboe/liburing.',
    );
  }
  /** @type {Entry[]} */
  const entries = [];
  /** @param {Load} load @param {import('./modes.mjs').Mode[]} measured */
  const rows = async (load, measured) => {
    const { packet, connections, threads, copies } = load;
    const how = copies ? ', a load that copies' : '';
    say(`${packet} B, ${connections} connections, ${threads} threads${how}`);
    for (let round = 0; round < rounds; round++) {
      const seconds = Math.round((performance.now() - started) / 1000);
      say(`  ${seconds} s: round ${round + 1} of ${rounds}, ${measured.length} modes`);
      for (const mode of measured) await pair(ours, mode, load, round, entries);
    }
    for (const mode of measured) {
      for (const by of /** @type {const} */ (['millrace', 'liburing'])) {
        const found = select(entries, load, mode.name, by);
        if (found.length > 0) say(`  ${mode.name.padEnd(21)} ${by.padEnd(9)} ${inWords(found)}`);
      }
    }
  };
  /** @param {...string} names */
  const only = (...names) => chosenModes.filter(({ name }) => names.includes(name));
  for (const packet of chosenPackets) {
    await rows(compared(packet), chosenModes);
    await rows(together(packet), only(...togetherModes));
  }
  const [smallest, largest] = [Math.min(...chosenPackets), Math.max(...chosenPackets)];
  await rows(
    alone(smallest),
    only('single-serialised', 'multishot-serialised', 'multishot-bundles', 'bundles'),
  );
  await rows(copying(largest), only('multishot-bundles', 'bundles'));

  const written = report({ machine: machine().slice(0, 2), entries, rounds, milliseconds });
  say(`\n${written}`);
  if (!whole) {
    say('Nothing was written: that takes a run without options and with LIBURING_PROXY.');
    return;
  }
  const document = fileURLToPath(new URL('../../../docs/rings.md', import.meta.url));
  const picture = fileURLToPath(new URL('../../../docs/pictures/rings.svg', import.meta.url));
  writeFileSync(document, documented(readFileSync(document, 'utf8'), written));
  writeFileSync(picture, plot(entries));
  say(`Written: ${document} and ${picture}`);
}

/**
 * One round of one mode: ours and theirs, each first in every other round.
 *
 * @param {string} ours
 * @param {import('./modes.mjs').Mode} mode
 * @param {Load} load
 * @param {number} round
 * @param {Entry[]} entries
 */
async function pair(ours, mode, load, round, entries) {
  const how = { milliseconds, drains: round === 0 };
  const turns = [
    async () => {
      const figure = await measure(ours, ourProxy(ours, mode.name, load), true, load, how);
      entries.push({ ...figure, ...load, mode: mode.name, by: 'millrace', round });
    },
    async () => {
      if (liburing === undefined || mode.theirs === undefined) return;
      if (load.threads < load.connections) return;
      const proxy = theirProxy(liburing, mode.theirs, load);
      const figure = await measure(ours, proxy, false, load, how);
      entries.push({ ...figure, ...load, mode: mode.name, by: 'liburing', round });
    },
  ];
  if (round % 2 === 1) turns.reverse();
  for (const turn of turns) await turn();
}

/** @param {Entry[]} found */
function inWords(found) {
  return found
    .map(
      (entry) =>
        `${Math.round(entry.bytesPerSecond / 1e6)} MB/s, ${Math.round(entry.cpuNanoseconds)} ns CPU`,
    )
    .join(' · ');
}

/** @param {string} text */
function say(text) {
  process.stdout.write(`${text}\n`);
}
