// Servers under test, each a process of its own.

import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ConnectionStats } from 'millrace';
import { onTestFailed, onTestFinished } from 'vitest';
import { eventually } from './eventually.js';
import { patience } from './patience.js';
import { openDescriptors, residentBytes } from './probes.js';
import type {
  Answered,
  Asked,
  HandlerCounters,
  Listening,
  Question,
  ServerConfiguration,
} from './server/protocol.js';
import { gauges, type Stats } from './stats.js';

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [key: string]: unknown;
}

/** The exit of a process: its code, or the signal that ended it. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const built = (file: string) => fileURLToPath(new URL(`../dist/server/${file}`, import.meta.url));

/** Log lines kept of a server; a test that makes more does not need the first. */
const LINES_KEPT = 10_000;

export class ServerProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly logs: LogLine[] = [];
  readonly stderr: string[] = [];
  /** Not before everything is read that it wrote. */
  readonly exited: Promise<Exit>;
  exit: Exit | undefined;
  #isRead = false;
  #lineWaiters = new Set<() => void>();

  constructor(child: ChildProcess) {
    this.child = child;
    this.pid = child.pid!;
    createInterface({ input: child.stdout! }).on('line', (line) => {
      this.#line(line);
    });
    createInterface({ input: child.stderr! }).on('line', (line) => {
      this.stderr.push(line);
    });
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.exit = { code, signal };
      });
      child.once('close', (code, signal) => {
        this.#isRead = true;
        for (const wake of this.#lineWaiters) wake();
        resolve({ code, signal });
      });
    });
    onTestFinished(async () => {
      if (this.exit === undefined) {
        child.kill('SIGKILL');
        await this.exited;
      }
    });
    onTestFailed(() => {
      const tail = [...this.logs.slice(-20).map((line) => JSON.stringify(line)), ...this.stderr];
      console.error(`server ${this.pid} said last:\n${tail.join('\n')}`);
    });
  }

  #line(text: string): void {
    let line: LogLine;
    try {
      line = JSON.parse(text) as LogLine;
    } catch {
      line = { level: 0, msg: text };
    }
    if (this.logs.length < LINES_KEPT) this.logs.push(line);
    for (const wake of this.#lineWaiters) wake();
  }

  /** The first log line that matches, also one of the past. */
  async log(what: string, match: (line: LogLine) => boolean, timeoutMs = 10_000): Promise<LogLine> {
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<LogLine>((resolve, reject) => {
        let seen = 0;
        const look = () => {
          for (; seen < this.logs.length; seen++) {
            if (match(this.logs[seen]!)) resolve(this.logs[seen]!);
          }
          if (this.#isRead) reject(new Error(`the server ended before it logged ${what}`));
        };
        timer = setTimeout(
          () => reject(new Error(`no log line within ${patience(timeoutMs)} ms: ${what}`)),
          patience(timeoutMs),
        );
        this.#lineWaiters.add(look);
        look();
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** A log line anywhere in which the pattern occurs. */
  logMatching(pattern: RegExp, timeoutMs?: number): Promise<LogLine> {
    return this.log(String(pattern), (line) => pattern.test(JSON.stringify(line)), timeoutMs);
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  residentBytes(): number {
    return residentBytes(this.pid);
  }

  openDescriptors(): number {
    return openDescriptors(this.pid);
  }
}

/** The test server, which can be questioned. */
export class TestServer extends ServerProcess {
  port = 0;
  driver = '';
  #asked = new Map<number, { resolve: (answer: never) => void; reject: (error: Error) => void }>();
  #nextId = 1;

  constructor(child: ChildProcess) {
    super(child);
    child.on('message', (message: Answered | Listening) => {
      if ('listening' in message) return;
      const asked = this.#asked.get(message.id);
      this.#asked.delete(message.id);
      if (message.error === undefined) asked?.resolve(message.answer as never);
      else asked?.reject(new Error(message.error));
    });
    child.once('exit', () => {
      for (const { reject } of this.#asked.values()) reject(new Error('the server has ended'));
    });
  }

  #ask<T>(question: Question): Promise<T> {
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      const asked: Asked = { id, question };
      this.child.send(asked, (error) => error !== null && reject(error));
    });
  }

  stats(): Promise<Stats> {
    return this.#ask('stats');
  }

  /** Figures of the connection that a forwarding server passes calls on by. */
  forwarding(): Promise<ConnectionStats> {
    return this.#ask('forwarding');
  }

  counters(): Promise<HandlerCounters> {
    return this.#ask('counters');
  }

  /** Collects garbage, then tells what is in use. */
  memory(): Promise<NodeJS.MemoryUsage> {
    return this.#ask('memory');
  }

  release(): Promise<void> {
    return this.#ask('release');
  }

  reloadTls(): Promise<void> {
    return this.#ask('reload');
  }

  close(): Promise<{ completed: number; aborted: number }> {
    return this.#ask('close');
  }

  /** Waits until every gauge stands where it stood in `start`: nothing is open, held or leaked. */
  async backAt(start: Stats, timeoutMs = 15_000): Promise<void> {
    const expected = JSON.stringify(gauges(start));
    await eventually(
      `stats() back at ${expected}`,
      async () => gauges(await this.stats()),
      (now) => JSON.stringify(now) === expected,
      timeoutMs,
    );
  }
}

export interface StartOptions extends ServerConfiguration {
  readonly nodeArguments?: readonly string[];
  readonly environment?: Record<string, string>;
  /** A descriptor of this process, which the server gets as its descriptor 4. */
  readonly inherited?: number;
}

/** Starts the test server with the driver of this run (MILLRACE_DRIVER). */
export async function startServer(options: StartOptions = {}): Promise<TestServer> {
  const { nodeArguments = [], environment = {}, inherited, ...configuration } = options;
  const child = fork(built('main.js'), [], {
    execArgv: ['--expose-gc', ...nodeArguments],
    env: { ...process.env, ...environment, MILLRACE_TEST: JSON.stringify(configuration) },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc', inherited ?? 'ignore'],
  });
  const server = new TestServer(child);
  const [message] = (await Promise.race([
    once(child, 'message'),
    server.exited.then(() => {
      throw new Error(`the test server ended before it listened:\n${server.stderr.join('\n')}`);
    }),
  ])) as [Listening];
  server.port = message.listening.port;
  server.driver = message.listening.driver;
  return server;
}

/** Runs one of the built scripts to its end. */
export async function runScript(
  file: string,
  scriptArguments: readonly string[] = [],
): Promise<{ exit: Exit; process: ServerProcess }> {
  const child = spawn(process.execPath, ['--expose-gc', built(file), ...scriptArguments], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const started = new ServerProcess(child);
  const exit = await started.exited;
  return { exit, process: started };
}

/** The example service, started as its README says. */
export async function startEcho(
  environment: Record<string, string> = {},
): Promise<{ process: ServerProcess; port: number; driver: string }> {
  const main = fileURLToPath(new URL('../../examples/echo/dist/main.js', import.meta.url));
  const child = spawn(process.execPath, [main], {
    env: { ...process.env, PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const started = new ServerProcess(child);
  const line = await started.log('listening', ({ msg }) => msg === 'listening');
  return { process: started, port: Number(line['port']), driver: String(line['driver']) };
}
