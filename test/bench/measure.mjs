// One measurement of one server: a load of a known amount of work, what the server spent on it, and
// the proof that the work was done.

import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startChecker } from './checker.mjs';
import { body } from './frames.mjs';
import { h2load } from './h2load.mjs';
import { cpuSeconds, runGenerator } from './processes.mjs';
import { quantile } from './statistics.mjs';

/** @typedef {import('./peers.mjs').Server} Server */
/** @typedef {import('./rows.mjs').Row} Row */

/** Messages in the file that the Go sender repeats. */
const SENDER_PATTERN = 100;
const WARM_UP_SECONDS = 1.5;
const MAXIMUM_MESSAGES = 100_000_000;

const scratch = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

/**
 * @typedef {object} Result
 * @property {string} row
 * @property {string} peer
 * @property {string} server what it is
 * @property {number} messages
 * @property {number} seconds
 * @property {number} messagesPerSecond
 * @property {number} cpuMicroseconds the server's, per message
 * @property {number} generatorBusy share of its core, 0 … 1
 * @property {number} bytes of DATA received, equal to what was due
 * @property {number} checkedCalls calls of an independent client compared byte by byte
 * @property {{ p50: number, p99: number } | undefined} latencyMicroseconds
 * @property {{ p50: number, p99: number, maximum: number } | undefined} timerDelayMs
 * @property {Record<string, unknown>} stats the server's own
 */

/**
 * How many messages make about `seconds` of load: found by runs that also warm the server up (the
 * compiler needs more than a second of work to settle).
 *
 * @param {Row} row
 * @param {Server} server
 * @param {number} seconds
 */
export async function calibrate(row, server, seconds) {
  let messages = atLeastOneRound(row, row.messages > 1 ? 20_000 : 1_000);
  for (let warm = 0; ; ) {
    const { seconds: taken } = await load(row, server, messages, 60);
    warm += taken;
    const wanted = atLeastOneRound(
      row,
      Math.min(MAXIMUM_MESSAGES, (messages / taken) * seconds, messages * 20),
    );
    // A run of a few milliseconds says little about a rate.
    if (warm >= Math.max(WARM_UP_SECONDS, seconds) && taken >= seconds / 4) return wanted;
    messages = atLeastOneRound(row, wanted / 2);
  }
}

/**
 * A whole number of requests, and enough to occupy every connection and stream twice.
 *
 * @param {Row} row
 * @param {number} messages
 */
function atLeastOneRound(row, messages) {
  const slots = row.connections * row.streams;
  if (row.generator !== 'h2load') return slots * Math.max(1000, Math.round(messages / slots));
  return Math.max(slots * 2, Math.round(messages / row.messages)) * row.messages;
}

/**
 * @param {Row} row
 * @param {Server} server
 * @param {number} messages
 * @param {number} seconds about how long it will take
 * @returns {Promise<Result>}
 */
export async function measure(row, server, messages, seconds) {
  // A second client would be seen in the latencies of the first.
  const checker = row.latency === true ? undefined : startChecker(server.port, row);
  await server.begin();
  const before = cpuSeconds(server.pid) ?? 0;
  const outcome = await load(row, server, messages, seconds * 10 + 30);
  const after = cpuSeconds(server.pid) ?? 0;
  const { delays, stats } = await server.end();
  const checkedCalls = (await checker?.stop()) ?? 0;
  return {
    row: row.name,
    peer: server.peer,
    server: server.name,
    messages,
    seconds: outcome.seconds,
    messagesPerSecond: messages / outcome.seconds,
    cpuMicroseconds: ((after - before) / messages) * 1e6,
    generatorBusy: outcome.busy,
    bytes: outcome.bytes,
    checkedCalls,
    latencyMicroseconds: outcome.latency,
    timerDelayMs:
      delays.length === 0
        ? undefined
        : {
            p50: quantile(delays, 0.5),
            p99: quantile(delays, 0.99),
            maximum: quantile(delays, 1),
          },
    stats,
  };
}

/**
 * @param {Row} row
 * @param {Server} server
 * @param {number} messages
 * @param {number} timeoutSeconds
 * @returns {Promise<{ seconds: number, bytes: number, busy: number, latency?: { p50: number, p99: number } }>}
 */
async function load(row, server, messages, timeoutSeconds) {
  const path = `/millrace.echo.v1.Echo/${row.method}`;
  const timeoutMs = timeoutSeconds * 1000;
  if (row.generator === 'h2load') {
    const file = bodyFile(row.size, row.messages);
    const logFile = row.latency === true ? join(scratch, 'requests') : undefined;
    if (logFile !== undefined) rmSync(logFile, { force: true });
    const outcome = await h2load({
      port: server.port,
      path,
      bodyFile: file.path,
      replyBytes: file.bytes,
      connections: row.connections,
      streams: row.streams,
      requests: messages / row.messages,
      ...(row.smallWindows === true ? { smallWindows: true } : {}),
      ...(row.tls === true ? { tls: true } : {}),
      ...(logFile === undefined ? {} : { logFile }),
      timeoutMs,
    });
    return logFile === undefined ? outcome : { ...outcome, latency: latencies(logFile) };
  }
  const file = bodyFile(row.size, SENDER_PATTERN);
  const { code, output, busy } = await runGenerator(
    await sender(),
    [
      ...[`-address=127.0.0.1:${server.port}`, `-path=${path}`, `-input=${file.path}`],
      ...[`-connections=${row.connections}`, `-streams=${row.streams}`],
      `-messages=${messages / (row.connections * row.streams)}`,
      ...[`-transport=${row.generator === 'frames' ? 'frames' : 'grpc'}`],
      `-timeout=${timeoutSeconds}s`,
    ],
    timeoutMs + 5000,
  );
  if (code !== 0) throw new Error(`the sender ended with code ${code}:\n${output}`);
  const report = JSON.parse(output);
  if (report.messages !== messages) {
    throw new Error(`the sender counted ${report.messages} replies of ${messages}`);
  }
  return { seconds: report.seconds, bytes: report.bytes, busy };
}

/** @type {Map<string, { path: string, bytes: number }>} */
const bodies = new Map();

/**
 * @param {number} size
 * @param {number} count
 */
function bodyFile(size, count) {
  const name = `body-${size}-${count}`;
  let file = bodies.get(name);
  if (file === undefined) {
    const content = body(size, count);
    file = { path: join(scratch, name), bytes: content.length };
    writeFileSync(file.path, content);
    bodies.set(name, file);
  }
  return file;
}

/** @param {string} logFile h2load's: start, status, microseconds */
function latencies(logFile) {
  const microseconds = readFileSync(logFile, 'latin1')
    .trimEnd()
    .split('\n')
    .map((line) => Number(line.split('\t')[2]));
  return { p50: quantile(microseconds, 0.5), p99: quantile(microseconds, 0.99) };
}

/** @type {Promise<string> | undefined} */
let builtSender;

/** Builds the Go sender once. */
function sender() {
  builtSender ??= (async () => {
    const folder = fileURLToPath(new URL('../../node_modules/.cache/millrace', import.meta.url));
    mkdirSync(folder, { recursive: true });
    const binary = join(folder, 'sender');
    await promisify(execFile)('go', ['build', '-o', binary, '.'], {
      cwd: fileURLToPath(new URL('sender', import.meta.url)),
    });
    return binary;
  })();
  return builtSender;
}

/** Why rows of this generator cannot run here, or undefined. @param {Row['generator']} generator */
export async function missing(generator) {
  const run = promisify(execFile);
  try {
    if (generator === 'h2load') await run('h2load', ['--version']);
    else await sender();
    return undefined;
  } catch (error) {
    const { code, stderr } = /** @type {{ code?: unknown, stderr?: string }} */ (error);
    if (code !== 'ENOENT') return `cannot be built: ${stderr ?? error}`;
    return generator === 'h2load'
      ? 'h2load is not installed (Debian, Ubuntu: apt-get install nghttp2-client)'
      : 'Go is not installed (https://go.dev/dl)';
  }
}
