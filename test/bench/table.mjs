// Results as Markdown: medians with their spread, ratios taken round by round.

import { clientRows } from './clients.mjs';
import { fanoutRows } from './fanout/rows.mjs';
import { rows } from './rows.mjs';
import { medianOf, quantile } from './statistics.mjs';

/** @typedef {import('./main.mjs').Entry} Entry */
/** @typedef {import('./main.mjs').IdleMemory} IdleMemory */

/** Above this share of its core the generator is the bottleneck, and CPU time the result. */
const GENERATOR_LIMIT = 0.9;
const BASE = 'grpc-js';
const OURS = /** @type {const} */ (['portable', 'millrace']);
const PEERS = [BASE, ...OURS];
/** Worst first. `millrace` is what the kernel allows at best. */
const DRIVERS = ['portable', 'classic', 'ring', 'millrace'];

/**
 * @param {object} run
 * @param {string[]} run.machine
 * @param {Entry[]} run.results
 * @param {IdleMemory[]} run.idleMemory
 * @param {import('./clients.mjs').ClientResult[]} run.clientResults
 * @param {import('./fanout/measure.mjs').FanoutResult[]} run.fanoutResults
 * @param {import('./start.mjs').StartResult[]} run.startResults
 * @param {string[]} run.skipped
 * @param {number} run.rounds
 * @param {number} run.seconds
 */
export function report(run) {
  const { machine, results, idleMemory, clientResults, startResults, skipped, rounds, seconds } =
    run;
  const titles = new Map(rows.map((row) => [row.name, row.title]));
  const servers = new Map(results.map((entry) => [entry.peer, entry.server]));

  /** @param {string} row @param {string} peer */
  const of = (row, peer) => results.filter((entry) => entry.row === row && entry.peer === peer);
  const measured = rows.filter((row) => results.some((entry) => entry.row === row.name));
  const rates = measured.filter((row) => row.latency !== true);

  const sections = [
    '# Benchmarks',
    'Written by `npm run bench`; do not edit. How it measures: [test/bench](../test/bench/main.mjs).',
    machine.map((line) => `- ${line}`).join('\n'),
    [...servers].map(([peer, name]) => `- **${peer}**: ${name}`).join('\n'),
    `${rounds} rounds of about ${seconds} s for each server, in turns; the server on one core, the generator on another. Figures are medians; in brackets the lowest and the highest round. Where the generator used more than ${GENERATOR_LIMIT * 100} % of its core, the rate says what the generator can do, and the ratio of CPU time is the result (marked *). Every run was checked: the number of replies, the bytes received, and sampled calls of an independent client compared byte by byte.`,
  ];

  if (rates.length > 0) {
    sections.push(
      '## Throughput',
      lines(
        [
          'load',
          ...PEERS.map((peer) => `${peer}, messages/s`),
          ...OURS.map((peer) => `${peer} ÷ ${BASE}`),
          'by CPU time',
        ],
        rates.map((row) => [
          titles.get(row.name) ?? row.name,
          ...PEERS.map((peer) => rate(of(row.name, peer))),
          ...OURS.map((peer) => ratio(of(row.name, peer), of(row.name, BASE))),
          OURS.map((peer) => cpuRatio(of(row.name, peer), of(row.name, BASE))).join(' · '),
        ]),
      ),
      '## Server CPU time per message, µs',
      lines(
        ['load', ...PEERS, 'generator busy, %'],
        rates.map((row) => [
          titles.get(row.name) ?? row.name,
          ...PEERS.map((peer) =>
            spread(
              of(row.name, peer).map((e) => e.cpuMicroseconds),
              2,
            ),
          ),
          PEERS.map((peer) =>
            median(
              of(row.name, peer).map((e) => e.generatorBusy * 100),
              0,
            ),
          ).join(' · '),
        ]),
      ),
      '## How late a 10 ms timer fires in the server meanwhile, ms',
      lines(
        ['load', ...PEERS.map((peer) => `${peer}: p50 · p99 · maximum`)],
        rates.map((row) => [
          titles.get(row.name) ?? row.name,
          ...PEERS.map((peer) => timer(of(row.name, peer))),
        ]),
      ),
    );
  }

  sections.push(...driverTable(results, run.fanoutResults));

  const latencies = measured.filter((row) => row.latency === true);
  if (latencies.length > 0) {
    sections.push(
      '## Latency, µs',
      lines(
        ['load', ...PEERS.map((peer) => `${peer}: p50 · p99`)],
        latencies.map((row) => [
          titles.get(row.name) ?? row.name,
          ...PEERS.map((peer) => {
            const values = of(row.name, peer).flatMap((e) => e.latencyMicroseconds ?? []);
            if (values.length === 0) return '–';
            return `${spread(
              values.map((v) => v.p50),
              0,
            )} · ${spread(
              values.map((v) => v.p99),
              0,
            )}`;
          }),
        ]),
      ),
    );
  }

  const scale = PEERS.map((peer) => ({
    peer,
    few: cpu(of('connections-8', peer)),
    many: cpu(of('connections-1000', peer)),
    alone: cpu(of('idle-0', peer)),
    accompanied: cpu(of('idle-10000', peer)),
    memory: idleMemory.find((entry) => entry.peer === peer)?.bytesPerConnection,
  })).filter(({ few, alone }) => few !== undefined || alone !== undefined);
  if (scale.length > 0) {
    sections.push(
      '## Many connections',
      lines(
        [
          'server',
          'CPU time per message at 1,000 connections ÷ at 8',
          'with 10,000 idle connections ÷ without',
          'resident memory per idle connection, bytes',
        ],
        scale.map(({ peer, few, many, alone, accompanied, memory }) => [
          peer,
          few === undefined || many === undefined ? '–' : (many / few).toFixed(2),
          alone === undefined || accompanied === undefined ? '–' : (accompanied / alone).toFixed(2),
          memory === undefined ? '–' : whole(memory),
        ]),
      ),
    );
  }
  const clients = clientRows.filter(({ name }) => clientResults.some(({ row }) => row === name));
  if (clients.length > 0) {
    /** @param {string} row @param {string} peer */
    const by = (row, peer) =>
      clientResults.filter((entry) => entry.row === row && entry.peer === peer);
    sections.push(
      "## Clients, against Millrace's server",
      lines(
        [
          'calls',
          ...PEERS.map((peer) => `${peer}, messages/s`),
          ...OURS.map((peer) => `${peer} ÷ ${BASE}`),
          "by the client's CPU time",
          'CPU time per message, µs',
        ],
        clients.map(({ name, title }) => [
          title,
          ...PEERS.map((peer) => rate(by(name, peer))),
          ...OURS.map((peer) => rateRatio(by(name, peer), by(name, BASE))),
          OURS.map((peer) => cpuRatio(by(name, peer), by(name, BASE))).join(' · '),
          PEERS.map((peer) =>
            median(
              by(name, peer).map((entry) => entry.cpuMicroseconds),
              2,
            ),
          ).join(' · '),
        ]),
      ),
    );
  }
  sections.push(...fanout(run.fanoutResults));
  if (startResults.length > 0) {
    sections.push(
      '## From the start of a process until it listens, ms',
      'The project of `millrace new`, built, beside an empty program, in turns.',
      lines(
        ['program', 'median', 'lowest', 'highest', '÷ an empty program'],
        startResults.map(({ program, milliseconds, lowest, highest, ratio }) => [
          program,
          ...[milliseconds, lowest, highest].map((value) => value.toFixed(0)),
          ratio.toFixed(1),
        ]),
      ),
    );
  }
  if (skipped.length > 0) {
    sections.push('## Not measured', skipped.map((line) => `- ${line}`).join('\n'));
  }
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

/**
 * @param {Entry[]} results
 * @param {import('./fanout/measure.mjs').FanoutResult[]} fanoutResults
 * @returns {string[]}
 */
function driverTable(results, fanoutResults) {
  const all = [...results, ...fanoutResults];
  /** @param {string} row @param {string} peer */
  const of = (row, peer) => all.filter((entry) => entry.row === row && entry.peer === peer);
  const compared = [
    ...rows,
    ...fanoutRows.map(({ name, title }) => ({ name, title: `Fan-out, ${title}` })),
  ].filter(({ name }) => of(name, 'ring').length > 0);
  if (compared.length === 0) return [];
  const best = nameOfDriver(all, 'millrace');
  return [
    '## Drivers: what an older kernel costs',
    'The same server on each of its drivers, forced by `MILLRACE_DRIVER` on this kernel; which kernel gets which stands in [deployment](guides/deployment.md), and what each ability is worth by itself in [rings](rings.md). Of a fan-out the messages are deliveries.',
    lines(
      [
        ...['load', 'driver', 'messages/s', `÷ ${BASE}`, `÷ ${best}`],
        ...[`÷ ${best}, by CPU time`, 'CPU time per message, µs'],
      ],
      compared.flatMap(({ name, title }) => {
        const whole = of(name, 'millrace');
        const digits = whole.some((entry) => entry.cpuMicroseconds < 0.1) ? 3 : 2;
        return DRIVERS.filter((peer) => of(name, peer).length > 0).map((peer) => {
          const entries = of(name, peer);
          const cost = entries.map((entry) => entry.cpuMicroseconds);
          return [
            ...[title, nameOfDriver(all, peer), rate(entries)],
            ...[ratio(entries, of(name, BASE)), rateRatio(entries, whole, 2)],
            ...[cpuRatio(entries, whole, 2), spread(cost, digits)],
          ];
        });
      }),
    ),
  ];
}

/** @param {{ peer: string, server: string }[]} entries @param {string} peer */
function nameOfDriver(entries, peer) {
  return entries.find((entry) => entry.peer === peer)?.server.replace(/^.* driver /, '') ?? peer;
}

/**
 * @param {import('./fanout/measure.mjs').FanoutResult[]} results
 * @returns {string[]}
 */
function fanout(results) {
  const NATS = 'nats-server';
  const peers = [NATS, ...PEERS].filter((peer) => results.some((entry) => entry.peer === peer));
  if (peers.length === 0) return [];
  const servers = peers.map((peer) => [peer, results.find((entry) => entry.peer === peer)?.server]);
  /** @param {string} row @param {string} peer */
  const of = (row, peer) => results.filter((entry) => entry.row === row && entry.peer === peer);
  const measured = fanoutRows.filter((row) => results.some((entry) => entry.row === row.name));
  return [
    '## Fan-out: one publisher, subscribers with a connection each',
    servers.map(([peer, name]) => `- **${peer}**: ${name}`).join('\n'),
    'A delivery is one event that one subscriber has received; publishing is part of its cost. In cleartext; gRPC is loaded by h2load, nats-server by nats.go, and no publisher gets further ahead of its slowest subscriber than the window. Every subscriber received every event: one compared each payload, the others were counted.',
    'Server CPU time per delivery, ns:',
    lines(
      [
        'payload, subscribers',
        ...peers,
        ...OURS.map((peer) => `${NATS} ÷ ${peer}`),
        'generator busy, %',
      ],
      measured.map((row) => [
        row.title,
        ...peers.map((peer) =>
          spread(
            of(row.name, peer).map((entry) => entry.cpuMicroseconds * 1000),
            0,
          ),
        ),
        ...OURS.map((peer) => cpuRatio(of(row.name, peer), of(row.name, NATS))),
        peers
          .map((peer) =>
            median(
              of(row.name, peer).map((entry) => entry.generatorBusy * 100),
              0,
            ),
          )
          .join(' · '),
      ]),
    ),
    'Deliveries per second:',
    lines(
      ['payload, subscribers', ...peers, ...OURS.map((peer) => `${peer} ÷ ${BASE}`)],
      measured.map((row) => [
        row.title,
        ...peers.map((peer) => rate(of(row.name, peer))),
        ...OURS.map((peer) => ratio(of(row.name, peer), of(row.name, BASE))),
      ]),
    ),
    'With 4 KiB both cores spend most of their time in the kernel, copying and in TCP, which no server is spared ([why](../ARCHITECTURE.md#decisions)).',
  ];
}

/**
 * @param {string[]} head
 * @param {string[][]} body
 */
function lines(head, body) {
  return [head, head.map((_, index) => (index === 0 ? '---' : '---:')), ...body]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

/** @param {number} value */
const whole = (value) => Math.round(value).toLocaleString('en');

/**
 * @param {number[]} values
 * @param {number} digits
 */
function median(values, digits) {
  return values.length === 0 ? '–' : medianOf(values).toFixed(digits);
}

/**
 * @param {number[]} values
 * @param {number} digits
 */
function spread(values, digits) {
  if (values.length === 0) return '–';
  const [low, high] = [0, 1].map((share) => quantile(values, share).toFixed(digits));
  return `${medianOf(values).toFixed(digits)} (${low}–${high})`;
}

/** @typedef {{ round: number, messagesPerSecond: number, cpuMicroseconds: number }} Rated */

/** @param {Rated[]} entries */
function rate(entries) {
  if (entries.length === 0) return '–';
  const values = entries.map((entry) => entry.messagesPerSecond);
  const [low, high] = [0, 1].map((share) => whole(quantile(values, share)));
  return `${whole(medianOf(values))} (${low}–${high})`;
}

/**
 * @param {(Rated & { generatorBusy: number })[]} ours
 * @param {Rated[]} base
 */
function ratio(ours, base) {
  if (ours.length === 0) return '–';
  const limited = medianOf(ours.map((entry) => entry.generatorBusy)) > GENERATOR_LIMIT;
  return `${rateRatio(ours, base)}${limited ? ' *' : ''}`;
}

/**
 * @param {Rated[]} ours
 * @param {Rated[]} base
 * @param {number} [digits]
 */
function rateRatio(ours, base, digits = 1) {
  const values = pairs(ours, base).map(([a, b]) => a.messagesPerSecond / b.messagesPerSecond);
  return values.length === 0 ? '–' : `${spread(values, digits)}×`;
}

/**
 * @param {Rated[]} ours
 * @param {Rated[]} base
 * @param {number} [digits]
 */
function cpuRatio(ours, base, digits = 1) {
  const values = pairs(ours, base).map(([a, b]) => b.cpuMicroseconds / a.cpuMicroseconds);
  return values.length === 0 ? '–' : `${spread(values, digits)}×`;
}

/**
 * @param {Rated[]} ours
 * @param {Rated[]} base
 * @returns {[Rated, Rated][]} of the same round
 */
function pairs(ours, base) {
  return ours.flatMap((entry) => {
    const partner = base.find((candidate) => candidate.round === entry.round);
    return partner === undefined ? [] : [/** @type {[Rated, Rated]} */ ([entry, partner])];
  });
}

/** @param {Entry[]} entries */
function cpu(entries) {
  if (entries.length === 0) return undefined;
  return medianOf(entries.map((entry) => entry.cpuMicroseconds));
}

/** @param {Entry[]} entries */
function timer(entries) {
  const values = entries.flatMap((entry) => entry.timerDelayMs ?? []);
  if (values.length === 0) return '–';
  return [
    median(
      values.map((value) => value.p50),
      1,
    ),
    median(
      values.map((value) => value.p99),
      1,
    ),
    quantile(
      values.map((value) => value.maximum),
      1,
    ).toFixed(1),
  ].join(' · ');
}
