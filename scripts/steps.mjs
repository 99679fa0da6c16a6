// How the scripts speak and how they start other programs. Node built-ins only: this runs before
// anything is installed.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

const colour = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;

/** @param {string} text */
export const bold = (text) => (colour ? `\x1b[1m${text}\x1b[22m` : text);
/** @param {string} text */
export const dim = (text) => (colour ? `\x1b[2m${text}\x1b[22m` : text);
/** @param {string} text */
export const red = (text) => (colour ? `\x1b[31m${text}\x1b[39m` : text);

/** @param {string} text */
export function say(text) {
  process.stdout.write(`${text}\n`);
}

/** A failure whose message is all that a person needs: no stack, exit code 1. */
export class Failure extends Error {}

/**
 * Runs the body of a script; what went wrong becomes one sentence on standard error.
 *
 * @param {() => Promise<void>} body
 */
export async function main(body) {
  try {
    await body();
  } catch (error) {
    const text = error instanceof Failure ? error.message : String(Object(error).stack ?? error);
    process.stderr.write(`\n${red(text)}\n`);
    process.exitCode = 1;
  }
}

/** @param {number} milliseconds */
export function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd] where to run; default: the root of the repository
 * @property {Record<string, string | undefined>} [env] on top of this process's own
 * @property {boolean} [capture] also return what it wrote
 */

/**
 * Runs a program to its end, its output going where ours goes.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<{ code: number, output: string }>} 127 when the program does not exist
 */
export function run(command, args, { cwd = root, env = {}, capture = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: capture ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'],
      // npm is a batch file on Windows.
      shell: process.platform === 'win32',
    });
    let output = '';
    child.stdout?.on('data', (chunk) => {
      output += chunk;
      process.stdout.write(chunk);
    });
    child.stderr?.on('data', (chunk) => {
      output += chunk;
      process.stderr.write(chunk);
    });
    child.on('error', (error) => {
      if (Object(error).code === 'ENOENT') resolve({ code: 127, output });
      else reject(error);
    });
    child.on('close', (code) => resolve({ code: code ?? 1, output }));
  });
}

/**
 * As `run`, and a failure ends the script with one sentence.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 */
export async function must(command, args, options) {
  const { code, output } = await run(command, args, options);
  if (code !== 0) {
    throw new Failure(
      `\`${command} ${args.join(' ')}\` ended with code ${code}; its own output is above.`,
    );
  }
  return output;
}

/**
 * What a program prints, or undefined when it is missing or fails.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @returns {Promise<string | undefined>}
 */
export function ask(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.on('error', () => resolve(undefined));
    child.on('close', (code) => resolve(code === 0 ? output : undefined));
  });
}
