// Does what a Dockerfile says, without Docker: stages are folders. It knows the instructions that the
// templates use, and fails for others; images, users and ports are not looked at.

import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Failure } from './steps.mjs';

/** @typedef {{ folder: string, workdir: string, environment: Record<string, string> }} Stage */

/**
 * Builds the last stage, and answers its working directory, what it is to run and with which variables.
 *
 * @param {string} context the folder with the Dockerfile, of which nothing is changed
 * @param {string} empty a folder for the stages
 * @param {(cwd: string, command: string, words: readonly string[]) => Promise<unknown>} run has to succeed
 * @returns {Promise<{ cwd: string, command: string[], environment: Record<string, string> }>}
 */
export async function followDockerfile(context, empty, run) {
  const text = readFileSync(join(context, 'Dockerfile'), 'utf8');
  const ignored = ignoredIn(context);
  /** @type {Map<string, Stage>} */
  const stages = new Map();
  /** @type {Stage | undefined} */
  let stage;
  /** @type {string[]} */
  let command = [];
  for (const line of text.split('\n').filter((line) => /^[A-Z]/.test(line))) {
    const [, instruction = '', rest = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    if (instruction === 'FROM') {
      const name = / AS (\w+)$/.exec(rest)?.[1] ?? `stage-${stages.size}`;
      stage = { folder: join(empty, name), workdir: '/', environment: {} };
      stages.set(name, stage);
      mkdirSync(stage.folder);
      continue;
    }
    if (stage === undefined) throw new Failure(`${line} comes before FROM.`);
    const { folder } = stage;
    const cwd = join(folder, stage.workdir);
    if (instruction === 'WORKDIR') {
      stage.workdir = rest;
      mkdirSync(join(folder, rest), { recursive: true });
    } else if (instruction === 'COPY') {
      const [, from, source = '', target = ''] = /^(?:--from=(\w+) )?(\S+) (\S+)$/.exec(rest) ?? [];
      const origin = from === undefined ? context : stages.get(from)?.folder;
      if (origin === undefined || !existsSync(join(origin, source))) {
        throw new Failure(`${line}: there is nothing to copy.`);
      }
      copy(join(origin, source), join(cwd, target), from === undefined ? ignored : []);
    } else if (instruction === 'RUN') {
      await run(cwd, 'sh', ['-c', rest]);
    } else if (instruction === 'ENV') {
      for (const [, name = '', value = ''] of rest.matchAll(/(\w+)=(\S+)/g)) {
        stage.environment[name] = value;
      }
    } else if (instruction === 'CMD') {
      command = JSON.parse(rest);
    } else if (!['USER', 'EXPOSE'].includes(instruction)) {
      throw new Failure(`${line} is not known here.`);
    }
  }
  if (stage === undefined || command.length === 0) throw new Failure('It runs nothing.');
  return { cwd: join(stage.folder, stage.workdir), command, environment: stage.environment };
}

/**
 * As COPY does: a file goes into a target that ends with a slash.
 *
 * @param {string} from
 * @param {string} to
 * @param {readonly string[]} ignored
 */
function copy(from, to, ignored) {
  const target = to.endsWith('/') && !from.endsWith('/') ? join(to, basename(from)) : to;
  cpSync(from, target, {
    recursive: true,
    filter: (path) => !ignored.some((name) => path === join(from, name)),
  });
}

/** @param {string} context */
function ignoredIn(context) {
  const file = join(context, '.dockerignore');
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => /^[^#]/.test(line));
}
