// Programs that a suite runs against, and programs that are the suite.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long a program has until it listens. */
const START_MS = 20_000;
/** Output kept of a program, to show when it fails. */
const OUTPUT_KEPT = 1 << 20;

/**
 * @typedef {object} Server
 * @property {number} port
 * @property {() => Promise<void>} stop
 */

/**
 * Starts a program that prints a line of JSON, `{"msg":"listening","port":…}`.
 *
 * @param {string} command
 * @param {string[]} words
 * @param {Record<string, string>} [environment]
 * @returns {Promise<Server>}
 */
export async function startListening(command, words, environment = {}) {
  const child = spawn(command, words, {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const stop = stopper(child);
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  try {
    const port = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (text) => {
        try {
          const line = JSON.parse(text);
          if (line.msg === 'listening') resolve(line.port);
        } catch {
          // Not a line of its log.
        }
      });
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`${command} ended with code ${code}`)));
      timer = setTimeout(() => reject(new Error(`${command} does not listen`)), START_MS);
    });
    return { port, stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Starts a program that listens on the port it is told and says nothing about it.
 *
 * @param {string} command
 * @param {(port: number) => string[]} words
 * @returns {Promise<Server>}
 */
export async function startOnPort(command, words) {
  const port = await freePort();
  const child = spawn(command, words(port), { stdio: 'ignore' });
  const stop = stopper(child);
  let failed = false;
  child.once('error', () => {
    failed = true;
  });
  for (const until = performance.now() + START_MS; performance.now() < until; ) {
    if (failed || child.exitCode !== null) break;
    if (await accepts(port)) return { port, stop };
    await sleep(20);
  }
  await stop();
  throw new Error(`${command} does not listen on port ${port}`);
}

/**
 * Runs a program to its end, for at most `timeoutMs`.
 *
 * @param {string} command
 * @param {string[]} words
 * @param {{ timeoutMs: number, environment?: Record<string, string> }} options
 * @returns {Promise<{ code: number | null, output: string }>} no code when its time was over, 127
 * when there is no such program
 */
export async function runToEnd(command, words, { timeoutMs, environment = {} }) {
  const child = spawn(command, words, {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (/** @type {string} */ text) => {
      output = (output + text).slice(-OUTPUT_KEPT);
    });
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  try {
    const [code] = await once(child, 'close');
    return { code, output };
  } catch (error) {
    return { code: 127, output: String(error) };
  } finally {
    clearTimeout(timer);
  }
}

/** @param {import('node:child_process').ChildProcess} child */
function stopper(child) {
  const kill = () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  };
  // However this process ends, the program does not outlive it.
  process.once('exit', kill);
  return async () => {
    process.off('exit', kill);
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  };
}

/** @returns {Promise<number>} a port that nobody had a moment ago */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** @param {number} port */
async function accepts(port) {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
