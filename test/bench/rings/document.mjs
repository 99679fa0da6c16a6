// The figures as Markdown, and their place in docs/rings.md.

import { medianOf, quantile } from '../statistics.mjs';
import { alone, BUFFERS, compared, copying, modes, packets, together } from './modes.mjs';

/** @typedef {import('./main.mjs').Entry} Entry */

const BEGIN = '<!-- Written by `npm run bench:rings`; do not edit. -->';
const END = '<!-- Up to here. -->';

/** Above this share of its core the load is the bottleneck. */
const LOAD_LIMIT = 0.9;

/**
 * The document with new figures between the two marks; what is around them stays.
 *
 * @param {string} document
 * @param {string} figures
 */
export function documented(document, figures) {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (begin < 0 || end < begin)
    throw new Error(`docs/rings.md has no place between ${BEGIN} and ${END}`);
  return `${document.slice(0, begin)}${BEGIN}\n\n${figures}\n\n${document.slice(end)}`;
}

/**
 * @typedef {object} Bar
 * @property {string} title
 * @property {number} packet
 * @property {[mode: string, base: string]} modes
 * @property {number} least
 * @property {(packet: number) => import('./measure.mjs').Load} [load] not the usual one
 */

/** @type {Bar[]} */
const bars = [
  ...packets.map((packet) => ({
    ...{ title: 'bundled sends ÷ one packet at a time', packet, least: packet === 128 ? 3 : 1.68 },
    modes: /** @type {[string, string]} */ (['multishot-bundles', 'multishot-serialised']),
  })),
  ...packets.map((packet) => ({
    ...{ title: 'receive bundles on top', packet, least: packet === 128 ? 1.4 : 0 },
    modes: /** @type {[string, string]} */ (['bundles', 'multishot-bundles']),
  })),
  ...packets.map((packet) => ({
    ...{ title: 'multishot ÷ single-shot receive, serialised sends', packet },
    ...{ least: packet === 128 ? 1.08 : 0 },
    modes: /** @type {[string, string]} */ (['multishot-serialised', 'single-serialised']),
  })),
  {
    ...{ title: 'the same on one connection', packet: 128, least: 1.08, load: alone },
    modes: ['multishot-serialised', 'single-serialised'],
  },
  ...packets.map((packet) => ({
    ...{ title: 'multishot ÷ single-shot receive, bundled sends', packet, least: 0 },
    modes: /** @type {[string, string]} */ (['multishot-bundles', 'single-bundles']),
  })),
];

/**
 * @param {object} run
 * @param {string[]} run.machine
 * @param {Entry[]} run.entries
 * @param {number} run.rounds
 * @param {number} run.milliseconds
 */
export function report({ machine, entries, rounds, milliseconds }) {
  /** @param {number} packet @param {string} mode @param {Entry['by']} [by] @param {Bar['load']} [load] */
  const of = (packet, mode, by = 'millrace', load = compared) =>
    select(entries, load(packet), mode, by);
  const measured = packets.filter((packet) => entries.some((entry) => entry.packet === packet));
  const sections = [
    machine.map((line) => `- ${line}`).join('\n'),
    `${compared(0).connections} connections, one way, each with a thread of its own in both programs; all threads on one core, the load on another. ${rounds} rounds of ${milliseconds} ms for each figure, ours and liburing's in turns. Medians; in brackets the lowest and the highest round. MB are 10⁶ bytes. ${BUFFERS} receive buffers of the packet's size for each connection; here of 16 KiB 32. The load's core was busy to at most ${percent(Math.max(...entries.filter((entry) => !entry.copies).map((entry) => entry.loadBusy)))}. In the first round of each mode all bytes arrived; ${gigabytes(entries)} were compared.`,
    "![MB/s by mode, ours beside liburing's proxy](pictures/rings.svg)",
  ];
  for (const packet of measured) {
    sections.push(
      `### Packets of ${packet.toLocaleString('en')} B`,
      lines(
        [
          ...['receive', 'send', 'MB/s', 'CPU per packet, ns', 'system calls per packet'],
          ...["liburing's, MB/s", 'CPU per packet, ns', "ours ÷ liburing's, MB/s", 'by CPU time'],
          "with the load's",
        ],
        modes
          .filter(({ name }) => of(packet, name).length > 0)
          .map(({ name, receive, send }) => {
            const [ours, theirs] = [of(packet, name), of(packet, name, 'liburing')];
            return [
              ...[receive, send, rate(ours), cpu(ours), calls(ours), rate(theirs), cpu(theirs)],
              ...[
                ratio(ours, theirs, speed),
                ratio(ours, theirs, thrift),
                ratio(ours, theirs, total),
              ],
            ];
          }),
      ),
    );
  }
  /** @param {Bar} bar @param {Entry['by']} [by] */
  const sides = ({ packet, modes: [mode, base], load }, by) => ({
    after: of(packet, mode, by, load),
    before: of(packet, base, by, load),
  });
  const judged = bars.filter((bar) => {
    const { after, before } = sides(bar);
    return after.length * before.length > 0;
  });
  if (judged.length > 0) {
    sections.push(
      '### What each ability is worth',
      lines(
        ['', 'packet, B', 'wanted', 'MB/s', 'by CPU time', "liburing's proxy, MB/s", 'by CPU time'],
        judged.map((bar) => {
          const { title, packet, least } = bar;
          const [ours, theirs] = [sides(bar), sides(bar, 'liburing')];
          return [
            ...[title, packet.toLocaleString('en'), least === 0 ? '' : `≥ ${least}`],
            `${ratio(ours.after, ours.before, speed)}${verdict(ours.after, ours.before, least)}`,
            ratio(ours.after, ours.before, thrift),
            ratio(theirs.after, theirs.before, speed),
            ratio(theirs.after, theirs.before, thrift),
          ];
        }),
      ),
    );
  }
  const served = measured.flatMap((packet) =>
    modes.map((mode) => ({
      ...{ packet, mode, found: of(packet, mode.name, 'millrace', together) },
      apart: of(packet, mode.name),
    })),
  );
  if (served.some(({ found }) => found.length > 0)) {
    sections.push(
      '### One thread for all connections, as in a server',
      lines(
        [
          ...['receive', 'send', 'packet, B', 'MB/s', 'CPU per packet, ns'],
          ...['system calls per packet', '÷ a thread for each, MB/s', 'by CPU time'],
        ],
        served
          .filter(({ found }) => found.length > 0)
          .map(({ packet, mode: { receive, send }, found, apart }) => [
            ...[receive, send, packet.toLocaleString('en'), rate(found), cpu(found), calls(found)],
            ...[ratio(found, apart, speed), ratio(found, apart, thrift)],
          ]),
      ),
    );
  }
  const single = alone(Math.min(...measured));
  const one = modes.filter(({ name }) => select(entries, single, name, 'millrace').length > 0);
  if (one.length > 0) {
    sections.push(
      `### One connection, packets of ${single.packet.toLocaleString('en')} B`,
      lines(
        [
          ...['receive', 'send', 'MB/s', 'CPU per packet, ns'],
          ...["liburing's, MB/s", 'CPU per packet, ns', "ours ÷ liburing's, MB/s", 'by CPU time'],
        ],
        one.map(({ name, receive, send }) => {
          const ours = select(entries, single, name, 'millrace');
          const theirs = select(entries, single, name, 'liburing');
          return [
            ...[receive, send, rate(ours), cpu(ours), rate(theirs), cpu(theirs)],
            ...[ratio(ours, theirs, speed), ratio(ours, theirs, thrift)],
          ];
        }),
      ),
    );
  }
  const heavy = copying(Math.max(...measured));
  const copied = modes.filter(({ name }) => select(entries, heavy, name, 'millrace').length > 0);
  if (copied.length > 0) {
    sections.push(
      `### A load that copies, packets of ${heavy.packet.toLocaleString('en')} B`,
      lines(
        [
          ...['receive', 'send', 'MB/s', "the load's core, busy", "the proxy's core, busy"],
          ...["liburing's, MB/s", "the load's core, busy", "the proxy's core, busy"],
        ],
        copied.map(({ name, receive, send }) => {
          const ours = select(entries, heavy, name, 'millrace');
          const theirs = select(entries, heavy, name, 'liburing');
          return [
            ...[receive, send, rate(ours), busy(ours, 'loadBusy'), busy(ours, 'proxyBusy')],
            ...[rate(theirs), busy(theirs, 'loadBusy'), busy(theirs, 'proxyBusy')],
          ];
        }),
      ),
    );
  }
  return sections.join('\n\n');
}

/**
 * The rounds of one mode under one load.
 *
 * @param {Entry[]} entries
 * @param {import('./measure.mjs').Load} load
 * @param {string} mode
 * @param {Entry['by']} by
 */
export function select(entries, load, mode, by) {
  return entries.filter(
    (entry) =>
      entry.packet === load.packet &&
      entry.connections === load.connections &&
      entry.threads === load.threads &&
      entry.copies === load.copies &&
      entry.mode === mode &&
      entry.by === by,
  );
}

/** @param {Entry[]} found */
function rate(found) {
  return spread(
    found.map((entry) => entry.bytesPerSecond / 1e6),
    0,
  );
}

/** @param {Entry[]} found */
function cpu(found) {
  return spread(
    found.map((entry) => entry.cpuNanoseconds),
    0,
  );
}

/** @param {Entry[]} found */
function calls(found) {
  const values = found.flatMap(({ counters }) =>
    counters === undefined ? [] : [counters.systemCalls / counters.packets],
  );
  return values.length === 0 ? '–' : medianOf(values).toPrecision(2);
}

/** @param {Entry[]} found @param {'loadBusy' | 'proxyBusy'} core */
function busy(found, core) {
  return found.length === 0 ? '–' : percent(medianOf(found.map((entry) => entry[core])));
}

/** How many times as fast. @param {Entry} one @param {Entry} other */
const speed = (one, other) => one.bytesPerSecond / other.bytesPerSecond;
/** How many times as little CPU time. @param {Entry} one @param {Entry} other */
const thrift = (one, other) => other.cpuNanoseconds / one.cpuNanoseconds;
/**
 * The same for proxy and load together, between which the kernel shifts work: the sender's segments leave
 * where its acknowledgements arrive.
 *
 * @param {Entry} one
 * @param {Entry} other
 */
const total = (one, other) => both(other) / both(one);
/** Seconds for a byte. @param {Entry} entry */
const both = (entry) => (entry.proxyBusy + entry.loadBusy) / entry.bytesPerSecond;

/**
 * Round by round.
 *
 * @param {Entry[]} ours
 * @param {Entry[]} base
 * @param {(one: Entry, other: Entry) => number} compare
 */
function ratios(ours, base, compare) {
  return ours.flatMap((entry) => {
    const partner = base.find(({ round }) => round === entry.round);
    return partner === undefined ? [] : [compare(entry, partner)];
  });
}

/**
 * @param {Entry[]} ours
 * @param {Entry[]} base
 * @param {(one: Entry, other: Entry) => number} compare
 */
function ratio(ours, base, compare) {
  return spread(ratios(ours, base, compare), 2);
}

/** @param {Entry[]} ours @param {Entry[]} base @param {number} least */
function verdict(ours, base, least) {
  if (least === 0) return '';
  const limited = [ours, base].some(
    (e) => medianOf(e.map(({ loadBusy }) => loadBusy)) > LOAD_LIMIT,
  );
  const met = medianOf(ratios(ours, base, limited ? thrift : speed)) >= least;
  return met ? ' ✓' : ' ✗';
}

/** @param {Entry[]} entries */
function gigabytes(entries) {
  const bytes = entries.reduce((sum, entry) => sum + entry.comparedBytes, 0);
  return `${(bytes / 1e9).toPrecision(2)} GB`;
}

/** @param {number} share */
const percent = (share) => `${Math.round(share * 100)} %`;

/**
 * @param {number[]} values
 * @param {number} digits
 */
function spread(values, digits) {
  if (values.length === 0) return '–';
  const format = (/** @type {number} */ value) =>
    digits === 0 ? Math.round(value).toLocaleString('en') : value.toFixed(digits);
  if (values.length === 1) return format(medianOf(values));
  return `${format(medianOf(values))} (${format(quantile(values, 0))}–${format(quantile(values, 1))})`;
}

/**
 * @param {string[]} head
 * @param {string[][]} body
 */
function lines(head, body) {
  return [head, head.map((_, index) => (index < 2 ? '---' : '---:')), ...body]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}
