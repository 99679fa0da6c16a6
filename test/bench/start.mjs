// How long a service takes from the start of its process until it listens, beside `node -e 0`: the
// project that `millrace new` makes, with our packages as they are packed, built by its own compiler, in
// turns with an empty program.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { quantile } from './statistics.mjs';

/** @typedef {{ row: 'start', program: string, milliseconds: number, lowest: number, highest: number, ratio: number }} StartResult */

const STARTS = 21;
/** What the project needs to be built and to run beside Millrace; here it is installed already. */
const PACKAGES = ['zod', 'typescript', '@types/node', 'vitest'];

const root = fileURLToPath(new URL('../..', import.meta.url));
const source = join(root, 'framework/dist/cli/main.js');
const installed = 'node_modules/millrace/dist/cli/main.js';

/** The programs that are compared; the first is what the others are measured by. */
const PROGRAMS = [
  { name: 'node -e 0', words: ['-e', '0'], listens: false },
  { name: 'a new service', words: ['--enable-source-maps', 'dist/main.js'], listens: true },
  {
    name: 'millrace serve',
    words: [installed, 'serve', '--host', '127.0.0.1', '--port', '0'],
    listens: true,
  },
];

/**
 * @param {(result: StartResult) => void} keep
 */
export async function measureStarts(keep) {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-start-'));
  try {
    const project = newProject(folder);
    /** @type {Map<string, number[]>} */
    const times = new Map(PROGRAMS.map(({ name }) => [name, []]));
    for (let start = 0; start < STARTS; start++) {
      for (const { name, words, listens } of PROGRAMS) {
        times.get(name)?.push(await startOnce(project, words, listens));
      }
    }
    const base = quantile(times.get('node -e 0') ?? [], 0.5);
    for (const [program, all] of times) {
      const milliseconds = quantile(all, 0.5);
      const [lowest, highest] = [Math.min(...all), Math.max(...all)];
      keep({
        ...{ row: 'start', program, milliseconds, lowest, highest },
        ratio: milliseconds / base,
      });
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Makes and builds a project; answers its folder.
 *
 * @param {string} folder
 */
function newProject(folder) {
  const packages = join(folder, 'packages');
  run(root, [join(root, 'scripts/pack.mjs'), '--out', packages]);
  run(folder, [source, 'new', 'service', '--packages', packages, '--no-install', '--yes']);
  const project = join(folder, 'service');
  for (const file of readdirSync(join(project, 'vendor'))) {
    unpack(join(project, 'vendor', file), join(project, 'node_modules', nameOf(file)));
  }
  for (const name of [...PACKAGES, ...dependencies(join(project, 'node_modules/millrace'))]) {
    const link = join(project, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), link, 'junction');
  }
  const compiler = createRequire(import.meta.url).resolve('typescript/package.json');
  run(project, [join(dirname(compiler), 'bin/tsc'), '-p', 'tsconfig.build.json']);
  return project;
}

/**
 * `millrace-health-0.1.0.tgz` is `@millrace/health`.
 *
 * @param {string} tarball
 */
function nameOf(tarball) {
  return tarball.replace(/-\d.*$/, '').replace(/^millrace-/, '@millrace/');
}

/**
 * @param {string} tarball
 * @param {string} target
 */
function unpack(tarball, target) {
  mkdirSync(target, { recursive: true });
  const words = ['-xzf', tarball, '-C', target, '--strip-components=1'];
  const { status, stderr } = spawnSync('tar', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${tarball} cannot be unpacked: ${stderr}`);
}

/**
 * What a package depends on that is not ours, and not there yet.
 *
 * @param {string} folder
 */
function dependencies(folder) {
  const { dependencies } = createRequire(import.meta.url)(join(folder, 'package.json'));
  return Object.keys(dependencies).filter(
    (name) => !name.startsWith('@millrace/') && !PACKAGES.includes(name),
  );
}

/**
 * @param {string} cwd
 * @param {string[]} words
 */
function run(cwd, words) {
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${words.join(' ')} failed:\n${stdout}${stderr}`);
}

/**
 * Milliseconds until the program says that it listens, or, where it does not listen, has ended.
 *
 * @param {string} cwd
 * @param {readonly string[]} words
 * @param {boolean} listens
 */
async function startOnce(cwd, words, listens) {
  const startedAt = performance.now();
  const child = spawn(process.execPath, words, {
    cwd,
    env: { ...process.env, PORT: '0', LOG_LEVEL: 'info' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close').then(() => performance.now() - startedAt);
  const listening = new Promise((resolve) => {
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
      if (output.includes('"listening"')) resolve(performance.now() - startedAt);
    });
  });
  const milliseconds = await Promise.race([ended, listening]);
  if (listens && (child.exitCode !== null || child.signalCode !== null)) {
    throw new Error(`${words.join(' ')} ended before it listened`);
  }
  child.kill('SIGKILL');
  await ended;
  return milliseconds;
}
