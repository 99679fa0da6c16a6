// nats-server under the same load: on the server's core, with GOMAXPROCS=1, else as it comes. Its
// publisher and its subscribers are nats.go, in one process on the generator's core (load/main.go).

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cpuSeconds, end, GENERATOR_CORE, SERVER_CORE, spawnOn } from '../processes.mjs';

/** @typedef {import('./rows.mjs').FanoutRow} FanoutRow */
/** @typedef {import('./grpc.mjs').Load} Load */

const START_MS_MAX = 10_000;
const NATS_SERVER = 'nats-server';
const run = promisify(execFile);

/** @type {Promise<string> | undefined} */
let builtLoad;

function builtLoader() {
  builtLoad ??= (async () => {
    const folder = fileURLToPath(new URL('../../../node_modules/.cache/millrace', import.meta.url));
    mkdirSync(folder, { recursive: true });
    const binary = join(folder, 'nats-load');
    await run('go', ['build', '-o', binary, '.'], {
      cwd: fileURLToPath(new URL('load', import.meta.url)),
    });
    return binary;
  })();
  return builtLoad;
}

/** Why nats-server cannot be measured here, or undefined. */
export async function natsIsMissing() {
  try {
    await run(NATS_SERVER, ['--version']);
  } catch {
    return 'nats-server is not installed (Debian, Ubuntu: apt-get install nats-server)';
  }
  try {
    await builtLoader();
    return undefined;
  } catch (error) {
    const { code, stderr } = /** @type {{ code?: unknown, stderr?: string }} */ (error);
    return code === 'ENOENT'
      ? 'Go is not installed (https://go.dev/dl)'
      : `its load cannot be built: ${stderr ?? error}`;
  }
}

/**
 * @param {string} scratch a folder for the file in which the server says its port
 */
export async function startNats(scratch) {
  const { stdout } = await run(NATS_SERVER, ['--version']);
  const child = spawnOn(
    SERVER_CORE,
    NATS_SERVER,
    ['--addr', '127.0.0.1', '--port', '-1', '--ports_file_dir', scratch],
    { env: { ...process.env, GOMAXPROCS: '1' }, stdio: 'ignore' },
  );
  const { pid } = child;
  if (pid === undefined) throw new Error('nats-server did not start');
  return {
    name: `${stdout.trim().replace(': v', ' ')}, GOMAXPROCS=1, default settings`,
    pid,
    address: await addressOf(pid, scratch),
    stop: () => end(child),
  };
}

/**
 * @param {number} pid
 * @param {string} scratch
 */
async function addressOf(pid, scratch) {
  for (const until = performance.now() + START_MS_MAX; ; await sleep(20)) {
    const file = readdirSync(scratch).find((name) => name.endsWith(`_${pid}.ports`));
    const text = file === undefined ? '' : readFileSync(join(scratch, file), 'utf8');
    const url = text.endsWith('}') ? JSON.parse(text).nats?.[0] : undefined;
    if (url !== undefined) return new URL(url).host;
    if (performance.now() > until) throw new Error('nats-server does not say where it listens');
  }
}

/**
 * @param {FanoutRow} row
 * @param {{ address: string }} server
 * @returns {Promise<Load>}
 */
export async function natsLoad({ size, subscribers, window }, server) {
  const child = spawnOn(
    GENERATOR_CORE,
    await builtLoader(),
    [
      ...[`-address=${server.address}`, `-subscribers=${subscribers}`],
      ...[`-size=${size}`, `-window=${window}`],
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const { pid, stdin, stdout } = child;
  if (pid === undefined || stdin === null || stdout === null) throw new Error('no load for NATS');
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error('the load on nats-server ended; see above');
    return JSON.parse(value);
  };
  await next();
  return {
    async run(messages) {
      const before = cpuSeconds(pid) ?? 0;
      stdin.write(`${Math.max(1, Math.round(messages))}\n`);
      const report = await next();
      if (report.bytes !== report.deliveries * size) {
        throw new Error(`NATS delivered ${report.bytes} bytes in ${report.deliveries} messages`);
      }
      return {
        messages: report.messages,
        seconds: report.seconds,
        bytes: report.bytes / subscribers,
        cpuSeconds: (cpuSeconds(pid) ?? 0) - before,
      };
    },
    pids: [pid],
    // Its share is in `run`.
    cpuSeconds: () => 0,
    // It counts every subscriber's messages itself, and ends where one is missing.
    verify: async (endServer) => endServer(),
    async stop() {
      stdin.end();
      await once(child, 'exit');
    },
  };
}
