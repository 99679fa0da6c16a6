// Other processes: how much CPU time and memory they use, on which core they run, how they end.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** `getconf CLK_TCK`: 100 on every Linux architecture that Node supports. */
const TICKS_PER_SECOND = 100;

export const SERVER_CORE = 0;
export const GENERATOR_CORE = 1;

/** Whether server and generator have a core each. */
export const pinned = process.platform === 'linux' && availableParallelism() >= 2;

/**
 * Starts a program on one core.
 *
 * @param {number} core
 * @param {string} command
 * @param {readonly string[]} args
 * @param {import('node:child_process').SpawnOptions} options
 */
export function spawnOn(core, command, args, options) {
  return pinned
    ? spawn('taskset', ['-c', String(core), command, ...args], options)
    : spawn(command, args, options);
}

/**
 * CPU time that a process has used, user and system, in seconds (proc_pid_stat(5)); undefined when
 * it is gone.
 *
 * @param {number} pid
 */
export function cpuSeconds(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name in parentheses may hold spaces; the third field follows it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return undefined;
  }
}

/**
 * Resident memory in bytes.
 *
 * @param {number} pid
 */
export function residentBytes(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}

/**
 * @typedef {object} Ended
 * @property {number} code
 * @property {string} output
 * @property {number} busy share of its core that the program used, 0 … 1
 * @property {number} seconds for which it ran
 */

/**
 * Runs a program on the generator's core to its end.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {number} timeoutMs it is killed then
 * @returns {Promise<Ended>}
 */
export function runGenerator(command, args, timeoutMs) {
  return new Promise((resolve, reject) => {
    const child = spawnOn(GENERATOR_CORE, command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const start = performance.now();
    let output = '';
    let busy = 0;
    let timedOut = false;
    const poll = setInterval(() => {
      const cpu = child.pid === undefined ? undefined : cpuSeconds(child.pid);
      const elapsed = (performance.now() - start) / 1000;
      // The first moments are the start of the program, not its work.
      if (cpu !== undefined && elapsed > 0.2) busy = Math.min(1, cpu / elapsed);
    }, 50);
    const timeout = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    child.stdout?.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr?.on('data', (chunk) => {
      output += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      clearInterval(poll);
      clearTimeout(timeout);
      if (timedOut) reject(new Error(`${command} did not end within ${timeoutMs} ms:\n${output}`));
      else resolve({ code: code ?? 1, output, busy, seconds: (performance.now() - start) / 1000 });
    });
  });
}

/**
 * Asks a child to end, and ends it when it does not listen.
 *
 * @param {import('node:child_process').ChildProcess} child
 * @param {number} [graceMs]
 */
export async function end(child, graceMs = 3000) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await closed;
  clearTimeout(timer);
}
