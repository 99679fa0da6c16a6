// `npm run transcript`: a newcomer's first minutes, recorded: what two terminals show and how long it
// takes, from tarballs in an empty folder, without Rust. Writes docs/guides/first-minutes.md.
//
//   npm run transcript -- --packages DIR    with tarballs that `npm run pack` has made
//
// Port 50051 has to be free. Packages of others come from the registry.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { availableParallelism, release, tmpdir, type } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Failure, main, must, root, say, seconds } from './steps.mjs';

const STEP_MS_MAX = 300_000;
const PORT = 50051;

/**
 * Something that was done, and what was seen of it.
 *
 * @typedef {object} Step
 * @property {string} title
 * @property {number} terminal 1 or 2
 * @property {string} command
 * @property {string[]} lines
 * @property {number} at milliseconds since the beginning
 * @property {number} took
 * @property {string} [note]
 */

class Recorder {
  /** @type {Step[]} */
  steps = [];
  #start = performance.now();

  /**
   * @param {string} home what the terminals call `~`
   */
  constructor(home) {
    this.home = home;
    const shadow = join(home, '.no-rust');
    mkdirSync(shadow);
    for (const name of ['cargo', 'rustc']) {
      writeFileSync(join(shadow, name), `#!/bin/sh\necho "${name} is not here" >&2\nexit 127\n`);
      chmodSync(join(shadow, name), 0o755);
    }
    const inherited = Object.entries(process.env).filter(
      // What npm tells its children is not for these.
      ([name]) =>
        !/^(npm_(?!config_(cafile|registry|cache)$)|INIT_CWD$|NODE_ENV$|MILLRACE_)/i.test(name),
    );
    this.environment = {
      ...Object.fromEntries(inherited),
      PATH: `${shadow}${delimiter}${process.env['PATH']}`,
      MILLRACE_PACKAGES: join(home, 'millrace-packages'),
      NO_COLOR: '1',
      npm_config_loglevel: 'error',
      npm_config_update_notifier: 'false',
    };
  }

  /** Milliseconds since the beginning. */
  get now() {
    return performance.now() - this.#start;
  }

  /**
   * @param {string} text
   * @returns {string[]}
   */
  shown(text) {
    return text
      .trimEnd()
      .replaceAll(this.home, '~')
      .replace(/(kernel \d+\.\d+\.\d+)-\S+/g, '$1')
      .split('\n');
  }

  /**
   * Runs a command in a terminal, which has to succeed.
   *
   * @param {string} title
   * @param {number} terminal
   * @param {string} folder below the home
   * @param {string} command
   * @param {string} [note]
   */
  async run(title, terminal, folder, command, note) {
    say(`${title}: ${command}`);
    const at = this.now;
    const child = spawn(command, {
      shell: true,
      cwd: join(this.home, folder),
      env: this.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: STEP_MS_MAX,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    const [code] = await once(child, 'close');
    if (code !== 0) throw new Failure(`${output}\n\`${command}\` ended with code ${code}.`);
    this.steps.push({
      title,
      terminal,
      command,
      lines: this.shown(output),
      at,
      took: this.now - at,
      ...(note === undefined ? {} : { note }),
    });
    return output;
  }
}

/** A command that stays, such as `npm run dev`. */
class Staying {
  /** @type {{ line: string, at: number }[]} */
  #lines = [];
  #taken = 0;
  /** @type {(() => void) | undefined} */
  #heard;

  /**
   * @param {Recorder} recorder
   * @param {string} folder
   * @param {string} command
   */
  constructor(recorder, folder, command) {
    this.recorder = recorder;
    this.child = spawn(command, {
      shell: true,
      cwd: join(recorder.home, folder),
      env: recorder.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, which Ctrl-C is for.
      detached: true,
      timeout: STEP_MS_MAX,
    });
    this.closed = once(this.child, 'close');
    let rest = '';
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) this.#lines.push({ line, at: recorder.now });
        this.#heard?.();
      });
    }
  }

  /**
   * Waits for a line, and takes all up to it.
   *
   * @param {RegExp} pattern
   */
  async until(pattern) {
    const end = performance.now() + 60_000;
    for (;;) {
      const found = this.#lines.findIndex(
        ({ line }, index) => index >= this.#taken && pattern.test(line),
      );
      if (found >= 0) {
        const lines = this.#lines.slice(this.#taken, found + 1);
        this.#taken = found + 1;
        return {
          lines: lines.map(({ line }) => line).filter((line) => line !== ''),
          /** When it listened. */
          at: lines.find(({ line }) => / listening /.test(line))?.at ?? 0,
        };
      }
      const left = end - performance.now();
      if (left <= 0) {
        const text = this.#lines.map(({ line }) => line).join('\n');
        throw new Failure(`${text}\nThere was no line like ${pattern}.`);
      }
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#heard = () => {
          clearTimeout(timer);
          resolve(undefined);
        };
      });
    }
  }

  /** Ctrl-C; what is printed then. */
  async interrupt() {
    if (this.child.pid !== undefined) process.kill(-this.child.pid, 'SIGINT');
    await this.closed;
    const lines = this.#lines.slice(this.#taken).map(({ line }) => line);
    return lines.filter((line) => line.trim() !== '');
  }
}

async function portIsFree() {
  const socket = connect(PORT, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return false;
  } catch {
    return true;
  } finally {
    socket.destroy();
  }
}

/** @param {Recorder} recorder */
async function record(recorder) {
  const { steps } = recorder;
  await recorder.run(
    'A project',
    1,
    '',
    'npx create-millrace my-service --template streams',
    'Contract, generated modules, handlers, tests; most of the time is the installation.',
  );
  const project = 'my-service';
  const start = recorder.now;
  const dev = new Staying(recorder, project, 'npm run dev');
  try {
    const first = await dev.until(/^started in /);
    steps.push({
      title: 'Run it',
      terminal: 1,
      command: 'cd my-service && npm run dev',
      lines: recorder.shown(first.lines.join('\n')),
      at: start,
      took: first.at - start,
      note: 'It listens, and stays.',
    });
    await recorder.run(
      'Look at it',
      2,
      project,
      'npx millrace list localhost:50051',
      'In another terminal, in `~/my-service`.',
    );
    const call = `npx millrace call localhost:50051 measurements.v1.Measurements/Simulate '{"sensor":"roof","count":3}'`;
    await recorder.run('Call it', 2, project, call, 'A stream, a line for each message.');
    await recorder.run(
      'A stream in, a stream out',
      2,
      project,
      `printf '{"value":1}\\n{"value":2}\\n' | npx millrace call localhost:50051 measurements.v1.Measurements/Average`,
    );
    const edited = recorder.now;
    await recorder.run(
      'Change a handler',
      2,
      project,
      `sed -i 's/Math.sin(i . 10)/100 + i/' src/services/measurements.ts`,
    );
    // The program before has ended, too.
    const again = await dev.until(/ closed /);
    steps.push({
      title: 'Meanwhile',
      terminal: 1,
      command: '',
      lines: recorder.shown(again.lines.join('\n')),
      at: edited,
      took: again.at - edited,
      note: `The new program accepts ${Math.round(again.at - edited)} ms after the change; the one before drains, and no connection is refused.`,
    });
    await recorder.run('Call it again', 2, project, call);
    await recorder.run(
      'Add a service',
      2,
      project,
      'npx millrace add service Orders',
      'Contract, handler, test, and an entry in the list of services. It is served at once.',
    );
    await dev.until(/ closed /);
    await recorder.run(
      'Call that',
      2,
      project,
      'npx millrace call localhost:50051 orders.v1.Orders/Get',
    );
    const ended = recorder.now;
    const last = await dev.interrupt();
    steps.push({
      title: 'Ctrl-C',
      terminal: 1,
      command: '',
      lines: recorder.shown(last.join('\n')),
      at: ended,
      took: recorder.now - ended,
      note: 'Calls that have begun end; then it does.',
    });
  } finally {
    if (dev.child.exitCode === null && dev.child.pid !== undefined) {
      try {
        process.kill(-dev.child.pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  }
  await recorder.run(
    'Test it',
    2,
    project,
    'npm test',
    'Real server, real client, one process. One test asks for a million messages, reads three, and sees the handler wait.',
  );
  await recorder.run('Check everything', 2, project, 'npm run check');
}

/**
 * The page.
 *
 * @param {Recorder} recorder
 */
function page({ steps, now }) {
  const clock = (/** @type {number} */ milliseconds) => {
    const all = Math.floor(milliseconds / 1000);
    return `${Math.floor(all / 60)}:${String(all % 60).padStart(2, '0')}`;
  };
  const short = (/** @type {string} */ command) =>
    command.length > 40 ? `${command.slice(0, 40).trimEnd()} …` : command;
  const rows = steps
    .filter(({ command }) => command !== '')
    .map(
      ({ title, terminal, command, at, took }) =>
        `| ${clock(at)} | ${terminal} | ${title} | \`${short(command)}\` | ${seconds(took)} |`,
    );
  const sections = steps.map(({ title, terminal, command, lines, at, note }) =>
    [
      `## ${title}`,
      '',
      `Terminal ${terminal}, at ${clock(at)}.${note === undefined ? '' : ` ${note}`}`,
      '',
      '```console',
      ...(command === '' ? [] : [`$ ${command}`]),
      ...(lines.join('') === '' ? [] : lines),
      '```',
      '',
    ].join('\n'),
  );
  return `# The first minutes, as they were

Recorded from a real run by \`npm run transcript\`, in an empty folder outside the clone, from tarballs
([how to get them](getting-started.md)), without Rust: ${availableParallelism()} cores, ${type()} ${release().replace(/-.*/, '')}, Node.js ${process.versions.node}.
${seconds(now)} from nothing to a service that runs, was changed while it ran, and is tested; at the speed of a
program that types. [Getting started](getting-started.md) explains the same steps.

| at | terminal | | command | took |
|---|---|---|---|---:|
${rows.join('\n')}

${sections.join('\n')}`;
}

/** @param {string} folder */
function tarballs(folder) {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.tgz'))
    .map((file) => join(folder, file));
}

await main(async () => {
  const { values } = parseArgs({ options: { packages: { type: 'string' } } });
  if (!(await portIsFree())) {
    throw new Failure(`Port ${PORT} is taken: end what listens there, and run this again.`);
  }
  const home = mkdtempSync(join(tmpdir(), 'millrace-transcript-'));
  try {
    const packages = join(home, 'millrace-packages');
    if (values.packages === undefined) {
      await must(process.execPath, [join(root, 'scripts/pack.mjs'), '--out', packages]);
    } else {
      await must('cp', ['-r', resolve(values.packages), packages]);
    }
    // What brings `npx create-millrace`, before the clock starts.
    await must('npm', ['install', '--prefix', home, '--no-save', ...tarballs(packages)]);
    const recorder = new Recorder(home);
    await record(recorder);
    writeFileSync(join(root, 'docs/guides/first-minutes.md'), page(recorder));
    say('docs/guides/first-minutes.md is written: look through it before you commit it.');
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});
