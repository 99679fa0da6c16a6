// The processes of the soak: servers that can be questioned, and the proxy.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Ledger } from './ledger.js';
import type { ServerSample, ServerSettings } from './options.js';
import type { Cut, ProxySettings } from './proxy.js';

/** pino's level of an error. */
const ERROR = 50;
const WARNING = 40;

/** What a process says over the IPC channel. */
interface Said {
  readonly listening?: true;
  readonly sample?: ServerSample;
  readonly last?: ServerSample;
}

function start(file: string, settings: ServerSettings | ProxySettings): ChildProcess {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), [], {
    execArgv: ['--expose-gc'],
    env: { ...process.env, MILLRACE_SOAK: JSON.stringify(settings) },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  // However this process ends, the other does not outlive it.
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  return child;
}

async function listening(child: ChildProcess, what: string): Promise<void> {
  await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`${what} ended with code ${code} before it listened`);
    }),
  ]);
}

export class SoakServer {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #ledger: Ledger;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #sampled: ((sample: ServerSample) => void) | undefined;
  /** What a drained server has said at its end. */
  last: ServerSample | undefined;
  /** The calls that its drain had to cut off. */
  aborted: number | undefined;

  static async start(name: string, settings: ServerSettings, ledger: Ledger): Promise<SoakServer> {
    const child = start('server.js', settings);
    const server = new SoakServer(name, child, ledger);
    await listening(child, `the server ${name}`);
    return server;
  }

  private constructor(name: string, child: ChildProcess, ledger: Ledger) {
    this.name = name;
    this.#child = child;
    this.#ledger = ledger;
    this.exited = new Promise((resolve) => {
      // Not before everything is read that it wrote.
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    child.on('message', ({ sample, last }: Said) => {
      if (sample !== undefined) this.#sampled?.(sample);
      if (last !== undefined) this.last = last;
    });
    createInterface({ input: child.stdout! }).on('line', (line) => this.#line(line));
    createInterface({ input: child.stderr! }).on('line', (line) => {
      ledger.violation(`the server ${name} wrote on standard error: ${line}`);
    });
  }

  #line(text: string): void {
    const line = JSON.parse(text) as { level: number; msg: string; aborted?: number };
    if (line.level >= ERROR) this.#ledger.violation(`the server ${this.name} logged ${text}`);
    else if (line.level >= WARNING) this.#ledger.warning(`server: ${line.msg}`);
    else if (line.msg === 'closed') this.aborted = line.aborted;
  }

  sample(): Promise<ServerSample> {
    return new Promise((resolve, reject) => {
      this.#sampled = resolve;
      this.#child.send('sample', (error) => error !== null && reject(error));
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

export class BreakingProxy {
  readonly #child: ChildProcess;

  static async start(settings: ProxySettings): Promise<BreakingProxy> {
    const child = start('proxy.js', settings);
    child.stdout?.resume();
    child.stderr?.pipe(process.stderr);
    await listening(child, 'the proxy');
    return new BreakingProxy(child);
  }

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  cut(how: Cut, number: number): void {
    this.#child.send({ how, number });
  }

  stop(): void {
    this.#child.disconnect();
  }
}

/** Below the ports that systems give to outgoing connections, so that one can be listened on again. */
const PORTS = { low: 12_000, high: 31_000 };

/** Ports that nobody listens on. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = PORTS.low + Math.floor(Math.random() * (PORTS.high - PORTS.low));
    if (!(await accepts(port))) ports.add(port);
  }
  return [...ports];
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
