// `npm run scaffold`: the first ten minutes of a newcomer, from tarballs, in an empty folder outside
// this repository, and without Rust: packs the packages, and for each template makes a project,
// installs it, tests, builds, starts and calls it, adds to it and edits it while `dev` runs, and does what
// its Dockerfile says. One more is a member of a workspace.
//
//   npm run scaffold -- --template unary    one template only; may be given several times
//   npm run scaffold -- --packages DIR      with tarballs that `npm run pack` has made
//
// Every step is bounded in time. `npm run setup` has to have built everything; packages of others
// come from the registry.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { followDockerfile } from './dockerfile.mjs';
import { bold, dim, Failure, main, must, root, say, seconds } from './steps.mjs';

const STEP_MS_MAX = 180_000;

/** What each template answers. */
const CALLS = [
  {
    template: 'unary',
    method: 'greeter.v1.Greeter/Greet',
    request: '{"name":"Ada"}',
    reply: '"Hello, Ada!"',
  },
  {
    template: 'streams',
    method: 'measurements.v1.Measurements/Simulate',
    request: '{"sensor":"roof","count":3}',
    reply: '"roof"',
  },
  {
    template: 'pubsub',
    method: 'millrace.pubsub.v1.PubSub/Publish',
    request: '{"topic":"jobs.sweep","payload":"YWxs"}',
    reply: '"sequence":"1"',
  },
  { template: 'blank', method: 'grpc.health.v1.Health/Check', request: '{}', reply: '"SERVING"' },
];

/** The line of a server that has started, with its port. */
const LISTENING = /"port":(\d+).*"msg":"listening"/;

/** A folder of projects, and the environment in which everything there runs. */
class Bench {
  /** @param {string} folder */
  constructor(folder) {
    this.folder = folder;
    const shadow = join(folder, 'no-rust');
    mkdirSync(shadow);
    for (const name of ['cargo', 'rustc', 'rustup']) {
      const file = join(shadow, name);
      writeFileSync(file, `#!/bin/sh\necho "${name} is not here" >&2\nexit 127\n`);
      chmodSync(file, 0o755);
    }
    const inherited = Object.entries(process.env).filter(
      // What npm and vitest tell their children is not for these.
      ([name]) =>
        !/^(npm_(?!config_(cafile|registry|cache)$)|VITEST|INIT_CWD$|NODE_ENV$|MILLRACE_)/i.test(
          name,
        ),
    );
    this.environment = {
      ...Object.fromEntries(inherited),
      PATH: `${shadow}${delimiter}${process.env['PATH']}`,
      NO_COLOR: '1',
      CI: '1',
    };
  }

  /**
   * Runs a step, which has to succeed.
   *
   * @param {string} cwd
   * @param {string} command
   * @param {readonly string[]} words
   * @returns {Promise<string>} standard output
   */
  async step(cwd, command, words) {
    const start = performance.now();
    const child = spawn(command, words, { cwd, env: this.environment, timeout: STEP_MS_MAX });
    child.stdin.end();
    let output = '';
    let all = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
      all += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      all += text;
    });
    const [code, signal] = await once(child, 'close');
    const line = [
      command.replace(/^.*[\\/]/, ''),
      ...words.map((word) => word.replace(this.folder, '…')),
    ].join(' ');
    if (code !== 0) {
      throw new Failure(`${all}\n\`${line}\` in ${cwd} ended with ${signal ?? `code ${code}`}.`);
    }
    say(`  ${line} ${dim(seconds(performance.now() - start))}`);
    return output;
  }

  /**
   * Starts a script that serves, and ends it when the body has ended.
   *
   * @param {string} cwd
   * @param {readonly string[]} line program and arguments
   * @param {(seen: (pattern: RegExp) => Promise<string>) => Promise<void>} body is given the wait for
   * the next line like this, which answers what its first group matches
   * @param {Record<string, string>} [environment]
   */
  async serving(cwd, [command = '', ...words], body, environment = {}) {
    const start = performance.now();
    const line = [command, ...words].join(' ');
    const child = spawn(command, words, {
      cwd,
      env: { ...this.environment, ...environment, HOST: '127.0.0.1', PORT: '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, so that what npm starts can be ended with it.
      detached: true,
      timeout: STEP_MS_MAX,
    });
    let all = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      all += text;
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const seen = async (/** @type {RegExp} */ pattern) => {
      for (let next = await lines.next(); next.done !== true; next = await lines.next()) {
        all += `${next.value}\n`;
        const found = pattern.exec(next.value);
        if (found !== null) return found[1] ?? '';
      }
      throw new Failure(`${all}\n\`${line}\` in ${cwd} ended before ${pattern}.`);
    };
    const closed = once(child, 'close');
    try {
      await body(seen);
    } finally {
      // `pid` is missing if it has not started.
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGTERM');
      await closed;
    }
    say(`  ${line} ${dim(seconds(performance.now() - start))}`);
  }
}

/**
 * @param {Bench} bench
 * @param {string} program the `create-millrace` that the tarballs brought
 * @param {string} packages
 * @param {(typeof CALLS)[number]} row
 */
async function tryOut(bench, program, packages, { template, method, request, reply }) {
  const name = `my-${template}`;
  const project = join(bench.folder, name);
  const start = performance.now();
  say(bold(template));
  await bench.step(bench.folder, process.execPath, [
    program,
    name,
    '--template',
    template,
    '--packages',
    packages,
  ]);
  await bench.step(project, 'npm', ['ci']);
  await bench.step(project, 'npm', ['test']);
  await bench.step(project, 'npm', ['run', 'check']);
  await bench.step(project, 'npm', ['run', 'build']);
  const millrace = join(project, 'node_modules/.bin/millrace');
  /** @param {(pattern: RegExp) => Promise<string>} seen */
  const answers = async (seen) => {
    const target = `127.0.0.1:${await seen(LISTENING)}`;
    const said = await bench.step(project, millrace, ['call', target, method, request]);
    if (!said.includes(reply)) throw new Failure(`${method} answered ${said}, without ${reply}.`);
  };
  await bench.serving(project, ['npm', 'start'], answers);
  await bench.serving(project, ['npm', 'run', 'dev'], async (seen) => {
    const target = await seen(/^listening on (\S+);/);
    await seen(/^started in/);
    const restarted = async () =>
      say(dim(`  restarted in ${await seen(/^restarted in (\d+ ms)/)}`));
    await bench.step(project, millrace, ['add', 'service', 'Orders']);
    await restarted();
    await bench.step(project, millrace, ['call', target, 'orders.v1.Orders/Get']);
    await bench.step(project, millrace, ['add', 'method', 'Orders.Watch', '--kind', 'server']);
    await restarted();
    await bench.step(project, millrace, ['call', target, 'orders.v1.Orders/Watch']);
    appendFileSync(join(project, 'src/services.ts'), '\nexport const edited = true;\n');
    await restarted();
  });
  await bench.step(project, 'npm', ['run', 'check']);
  if (template === 'unary') {
    const stages = join(bench.folder, 'stages');
    mkdirSync(stages);
    const image = await followDockerfile(project, stages, (...step) => bench.step(...step));
    await bench.serving(image.cwd, image.command, answers, image.environment);
  }
  say(dim(`  all of ${template}: ${seconds(performance.now() - start)}`));
}

/**
 * As a member of a workspace, where npm installs for all of them together.
 *
 * @param {Bench} bench
 * @param {string} program
 * @param {string} packages
 * @param {string} template
 */
async function tryWorkspace(bench, program, packages, template) {
  const workspace = join(bench.folder, 'workspace');
  mkdirSync(workspace);
  writeFileSync(join(workspace, 'package.json'), '{ "private": true, "workspaces": ["my-*"] }\n');
  say(bold('a workspace'));
  const words = [program, 'my-member', '--template', template, '--packages', packages];
  await bench.step(workspace, process.execPath, words);
  await bench.step(join(workspace, 'my-member'), 'npm', ['test']);
}

await main(async () => {
  const { values } = parseArgs({
    options: {
      template: { type: 'string', multiple: true, default: CALLS.map(({ template }) => template) },
      packages: { type: 'string' },
    },
  });
  const rows = values.template.map((wanted) => {
    const row = CALLS.find(({ template }) => template === wanted);
    if (row === undefined) throw new Failure(`There is no template ${wanted}.`);
    return row;
  });
  const folder = mkdtempSync(join(tmpdir(), 'millrace-scaffold-'));
  try {
    const packages = resolve(values.packages ?? join(folder, 'packages'));
    if (values.packages === undefined) {
      await must(process.execPath, [join(root, 'scripts/pack.mjs'), '--out', packages]);
    }
    const bench = new Bench(folder);
    const tool = join(folder, 'tool');
    mkdirSync(tool);
    writeFileSync(join(tool, 'package.json'), '{ "private": true }\n');
    const ours = readdirSync(packages).filter((file) => file.endsWith('.tgz'));
    say(bold('the command line'));
    await bench.step(tool, 'npm', ['install', ...ours.map((file) => join(packages, file))]);
    const program = join(tool, 'node_modules/create-millrace/index.js');
    for (const row of rows) await tryOut(bench, program, packages, row);
    await tryWorkspace(bench, program, packages, String(rows[0]?.template));
    say(`scaffold: ${rows.length} of ${rows.length} templates, and a member of a workspace`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
