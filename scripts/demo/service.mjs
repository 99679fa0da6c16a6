// An example as a process of its own, which the demo starts and ends.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Failure, root, say } from '../steps.mjs';

/**
 * Starts an example on a free port.
 *
 * @param {string} name of its folder
 */
export async function startExample(name) {
  const child = spawn(process.execPath, [join(root, 'examples', name, 'dist/main.js')], {
    env: { ...process.env, HOST: '127.0.0.1', PORT: '0', THREADS: '1', LOG_LEVEL: 'info' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  // However this process ends, the service does not outlive it.
  const kill = () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  };
  process.once('exit', kill);
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
    process.once(signal, () => process.exit(1));
  }

  /** @type {((line: Record<string, any>) => void)[]} */
  let waiting = [];
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (text) => {
    let line;
    try {
      line = JSON.parse(text);
    } catch {
      say(text);
      return;
    }
    if (line.level >= 40) say(text);
    for (const look of waiting) look(line);
  });

  /**
   * @param {string} message
   * @returns {Promise<Record<string, any>>}
   */
  const logged = (message) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => done(() => reject(new Failure(`The service did not log "${message}" in 20 s.`))),
        20_000,
      );
      /** @param {Record<string, any>} line */
      const look = (line) => {
        if (line['msg'] === message) done(() => resolve(line));
      };
      /** @param {() => void} settle */
      const done = (settle) => {
        clearTimeout(timer);
        waiting = waiting.filter((other) => other !== look);
        settle();
      };
      waiting.push(look);
      exit.then(([code]) =>
        done(() => reject(new Failure(`The service ended with code ${code}; see above.`))),
      );
    });

  const listening = await logged('listening');
  return {
    /** @type {number} */
    port: listening['port'],
    /** @type {string} */
    driver: listening['driver'],
    /** @type {string | undefined} */
    reason: listening['driverReason'],
    kill,
    /** @returns {Promise<Record<string, any> | undefined>} the first thread's */
    async stats() {
      if (process.platform === 'win32') return undefined;
      const line = logged('stats');
      child.kill('SIGUSR2');
      return (await line)['stats'].threads[0];
    },
    async stop() {
      child.kill('SIGTERM');
      const [code] = await exit;
      if (code !== 0) throw new Failure(`The service ended with code ${code} where 0 was due.`);
    },
  };
}
