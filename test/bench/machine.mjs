// Where the figures come from.

import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, release, type } from 'node:os';

/** @returns {string[]} one fact a line */
export function machine() {
  return [
    `${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${availableParallelism()} cores`,
    `${type()} ${release()}, Node.js ${process.versions.node}`,
    [version('h2load', ['--version']), version('go', ['version'])].join(', '),
  ];
}

/**
 * @param {string} command
 * @param {string[]} args
 */
function version(command, args) {
  try {
    return execFileSync(command, args, { encoding: 'utf8' }).trim().split('\n')[0];
  } catch {
    return `no ${command}`;
  }
}
