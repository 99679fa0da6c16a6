// One row, one peer, one line: for tuning.
//   node test/bench/quick.mjs --row unary --peer millrace|ring|classic|portable|grpc-js --seconds 3

import { parseArgs } from 'node:util';
import { calibrate, measure, missing } from './measure.mjs';
import { driverNames, peerNames, start } from './peers.mjs';
import { rowNamed } from './rows.mjs';

const { values } = parseArgs({
  options: {
    row: { type: 'string', default: 'unary' },
    peer: { type: 'string', default: 'millrace' },
    seconds: { type: 'string', default: '3' },
    stats: { type: 'boolean', default: false },
  },
});
const row = rowNamed(values.row);
const seconds = Number(values.seconds);
const names = [...peerNames, ...driverNames];
const peer = names.find((name) => name === values.peer);
if (peer === undefined) throw new Error(`--peer is one of ${names.join(', ')}`);
const reason = await missing(row.generator);
if (reason !== undefined) throw new Error(reason);

const server = await start(peer, row);
try {
  const messages = await calibrate(row, server, seconds);
  const result = await measure(row, server, messages, seconds);
  const { timerDelayMs: timer, latencyMicroseconds: latency } = result;
  process.stdout.write(
    `${[
      `${row.name} ${peer}: ${Math.round(result.messagesPerSecond).toLocaleString('en')} messages/s`,
      `server ${result.cpuMicroseconds.toFixed(3)} µs CPU/message`,
      `generator ${Math.round(result.generatorBusy * 100)} % busy`,
      ...(latency === undefined ? [] : [`p50 ${latency.p50} µs, p99 ${latency.p99} µs`]),
      ...(timer === undefined
        ? []
        : [`10 ms timer late by p50 ${timer.p50.toFixed(1)}, p99 ${timer.p99.toFixed(1)} ms`]),
      `${result.checkedCalls} calls checked (${server.name})`,
    ].join(' · ')}\n`,
  );
  if (values.stats) process.stdout.write(`${JSON.stringify(result.stats, replacer, 2)}\n`);
} finally {
  await server.stop();
}

/**
 * @param {string} _key
 * @param {unknown} value
 */
function replacer(_key, value) {
  return typeof value === 'bigint' ? Number(value) : value;
}
