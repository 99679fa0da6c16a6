// examples/pubsub as its README has it: the scripts that a user types, in processes of their own.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const STEP_MS = 20_000;

/** A script of the example, with what it has written. */
class Script {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #closed: Promise<unknown[]>;
  output = '';
  errors = '';

  constructor(words: readonly string[], environment: NodeJS.ProcessEnv = {}) {
    // A group of its own, since npm stands in between.
    this.#child = spawn('npm', words, {
      cwd: root,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#closed = once(this.#child, 'close');
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text;
    });
  }

  /** The first group of the next line like this. */
  async line(pattern: RegExp): Promise<string> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done === true)
        throw new Error(`it ended before ${pattern}:\n${this.output}${this.errors}`);
      this.output += `${value}\n`;
      const found = pattern.exec(value);
      if (found !== null) return found[1] ?? '';
    }
  }

  /** Its code, when it has ended. */
  async end(): Promise<unknown> {
    for (let next = await this.#lines.next(); next.done !== true; next = await this.#lines.next()) {
      this.output += `${next.value}\n`;
    }
    const [code] = await this.#closed;
    return code;
  }

  /** As a terminal does it: to npm and to what npm has started. What npm exits with then is npm's own. */
  kill(signal: NodeJS.Signals): void {
    const { exitCode, signalCode, pid } = this.#child;
    if (exitCode === null && signalCode === null && pid !== undefined) process.kill(-pid, signal);
  }
}

let scripts: Script[] = [];
let server: Script;
let port: string;

function run(script: string, ...words: string[]): Script {
  const started = new Script(['run', '-s', script, '-w', 'examples/pubsub', '--', ...words], {
    PORT: port,
  });
  scripts.push(started);
  return started;
}

beforeEach(async () => {
  server = new Script(['start', '-s', '-w', 'examples/pubsub'], { PORT: '0', LOG_LEVEL: 'info' });
  scripts = [server];
  port = await server.line(/"port":(\d+).*"msg":"listening"/);
}, STEP_MS);

afterEach(() => {
  for (const script of scripts) script.kill('SIGKILL');
});

const number = (text: string | undefined) => Number(text?.replaceAll(',', ''));

describe('publish and subscribe', () => {
  test('every event arrives, and the counters say so', async () => {
    const subscriber = run('subscribe', '--pattern', 'orders.>', '--count', '300');
    await subscriber.line(/^subscribed/);
    const publisher = run('publish', '--topic', 'orders.eu', '--count', '300', '--size', '64');
    expect(await publisher.end(), publisher.errors).toBe(0);
    expect(publisher.output).toMatch(/published 300 of 300 .* delivered 300 .* last sequence 300/);
    expect(await subscriber.end(), subscriber.errors).toBe(0);
    expect(subscriber.output).toMatch(/received 300 .* dropped 0 · last sequence 300/);
    server.kill('SIGTERM');
    await server.line(/"msg":"closed"/);
  });

  test('a slow one drops what it chose to, and is told', async () => {
    const words = ['--pattern', 'a.b', '--slow', '2', '--pending', '8', '--policy', 'drop-oldest'];
    const subscriber = run('subscribe', ...words);
    await subscriber.line(/^subscribed/);
    const publisher = run('publish', '--topic', 'a.b', '--count', '2000', '--size', '1024');
    expect(await publisher.end(), publisher.errors).toBe(0);
    // Of the oldest none is left, so that the last has come: what it received and what it was told of.
    for (let [received, dropped] = [0, 0]; received + dropped < 2000; ) {
      const counters = await subscriber.line(/^(received .* dropped .*)$/);
      [received, dropped] = [/received ([\d,]+)/, /dropped ([\d,]+)/].map((pattern) =>
        number(pattern.exec(counters)?.[1]),
      ) as [number, number];
      expect(received + dropped).toBeLessThanOrEqual(2000);
    }
    expect(subscriber.output).toMatch(/dropped [1-9]/);
    subscriber.kill('SIGINT');
    await subscriber.end();
    expect(subscriber.errors).toBe('');
  });

  test('one that disconnects says why, and ends with code 1', async () => {
    const words = ['--pattern', '>', '--slow', '100', '--pending', '1', '--policy', 'disconnect'];
    const subscriber = run('subscribe', ...words);
    await subscriber.line(/^subscribed/);
    const publisher = run('publish', '--count', '1000', '--size', '4096');
    expect(await publisher.end(), publisher.errors).toBe(0);
    expect(await subscriber.end()).toBe(1);
    expect(subscriber.errors).toContain('its policy is disconnect');
  });

  test('replay from the earliest', async () => {
    const publisher = run('publish', '--topic', 'kept.one', '--count', '20');
    expect(await publisher.end(), publisher.errors).toBe(0);
    const words = ['--pattern', 'kept.*', '--from', 'earliest', '--count', '20'];
    const subscriber = run('subscribe', ...words);
    expect(await subscriber.end(), subscriber.errors).toBe(0);
    expect(subscriber.output).toMatch(/received 20 .* last sequence 20/);
  });
});

describe('mistakes', () => {
  test.each([
    ['publish', ['--topic', 'a..b'], 1, 'topic'],
    ['publish', ['--count', 'many'], 2, '--count is many, but has to be a whole number from 1.'],
    ['subscribe', ['--pattern', 'a.>.b'], 1, 'pattern'],
    ['subscribe', ['--policy', 'wait'], 2, '--policy is wait, but has to be one of default, block'],
    ['subscribe', ['--patern', 'a'], 2, 'npm run subscribe -w examples/pubsub -- [options]'],
    ['subscribe', ['--target', '127.0.0.1:1'], 1, '127.0.0.1:1'],
  ])('%s %j', async (script, words, code, text) => {
    const started = run(script, ...words);
    expect(await started.end()).toBe(code);
    expect(started.errors).toContain(text);
    expect(started.errors).not.toContain('    at ');
  });
});

test('a backplane that there is not', async () => {
  const wrong = new Script(['start', '-s', '-w', 'examples/pubsub'], {
    PORT: '0',
    BACKPLANE: 'pigeons',
  });
  scripts.push(wrong);
  expect(await wrong.end()).not.toBe(0);
  expect(wrong.output + wrong.errors).toContain(
    'BACKPLANE is pigeons, but has to be memory or nats.',
  );
});
