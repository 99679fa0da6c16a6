// The processes of this soak, each of which answers questions in turn.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Group, GroupSample, ServerSettings } from './settings.js';

const ANSWER_MS_MAX = 60_000;

class Process {
  readonly #child: ChildProcess;
  readonly #file: string;
  readonly #exited: Promise<never>;
  #answered: Promise<unknown> = Promise.resolve();

  constructor(file: string, words: readonly string[], environment: NodeJS.ProcessEnv) {
    this.#file = file;
    this.#child = fork(fileURLToPath(new URL(file, import.meta.url)), words, {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      if (!line.includes('"msg":"listening"')) process.stdout.write(`  ${file}: ${line}\n`);
    });
    this.#exited = once(this.#child, 'exit').then(([code, signal]) => {
      throw new Error(`${file} ended (${signal ?? code})`);
    });
    this.#exited.catch(() => {});
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** The next message, which has to have this property. */
  async said<T>(property: string): Promise<T> {
    const done = new AbortController();
    const signal = AbortSignal.any([done.signal, AbortSignal.timeout(ANSWER_MS_MAX)]);
    const message = once(this.#child, 'message', { signal });
    message.catch(() => {});
    try {
      const [said] = await Promise.race([message, this.#exited]);
      if (said[property] === undefined) throw new Error(`${this.#file} said ${Object.keys(said)}`);
      return said[property] as T;
    } finally {
      done.abort();
    }
  }

  /** Asks once what was asked before is answered. */
  ask<T>(question: object | string, property: string): Promise<T> {
    const answer = this.#answered.then(() => {
      const said = this.said<T>(property);
      this.#child.send(question);
      return said;
    });
    this.#answered = answer.catch(() => {});
    return answer;
  }

  async stop(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#exited.catch(() => {});
  }
}

/** The server, in a process of its own. */
export class Server {
  readonly #process: Process;
  readonly port: number;

  static async start(settings: ServerSettings): Promise<Server> {
    const child = new Process('server.js', [], { MILLRACE_SOAK: JSON.stringify(settings) });
    return new Server(child, await child.said<number>('port'));
  }

  private constructor(child: Process, port: number) {
    this.#process = child;
    this.port = port;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Subscribers that it has cut off so far. */
  disconnected(): Promise<number> {
    return this.#process.ask('disconnected', 'disconnected');
  }

  stop(): Promise<void> {
    return this.#process.stop();
  }
}

/** All subscribers, in one other process. */
export class Subscribers {
  readonly #process: Process;

  static async start(port: number): Promise<Subscribers> {
    const child = new Process('subscribers.js', [String(port)], {});
    await child.said('ready');
    return new Subscribers(child);
  }

  private constructor(child: Process) {
    this.#process = child;
  }

  subscribe(group: Group): Promise<void> {
    return this.#process.ask({ subscribe: group }, 'subscribed');
  }

  /** Has those of a group that never read look at last, until their subscriptions have ended. */
  look(name: string): Promise<void> {
    return this.#process.ask({ look: name }, 'looked');
  }

  /** By the name of the group. */
  async samples(): Promise<ReadonlyMap<string, GroupSample>> {
    const samples = await this.#process.ask<GroupSample[]>('samples', 'samples');
    return new Map(samples.map((sample) => [sample.name, sample]));
  }

  stop(): Promise<void> {
    return this.#process.stop();
  }
}
