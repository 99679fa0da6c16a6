// The processes that are killed.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { DiaryReader } from './diary.js';
import { type ConsumerState, consumerState, type Ledger } from './ledger.js';
import type { ConsumerSettings, ServerSettings } from './options.js';

/** A process that can be killed and started again. */
export class Killable {
  readonly name: string;
  readonly #file: string;
  readonly #settings: ServerSettings | ConsumerSettings;
  #child: ChildProcess | undefined;
  /** How it has ended without having been killed. */
  ended: string | undefined;

  constructor(name: string, file: string, settings: ServerSettings | ConsumerSettings) {
    this.name = name;
    this.#file = file;
    this.#settings = settings;
  }

  /** Starts it; a server listens then. */
  async start(): Promise<void> {
    const child = fork(fileURLToPath(new URL(this.#file, import.meta.url)), [], {
      env: {
        ...process.env,
        MILLRACE_ENDURANCE: JSON.stringify(this.#settings),
        LOG_LEVEL: process.env['LOG_LEVEL'] ?? 'silent',
      },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    // However this process ends, the other does not outlive it.
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', (code, signal) => {
      process.off('exit', kill);
      if (this.#child === child) this.ended = `${this.name} ended with ${signal ?? `code ${code}`}`;
    });
    if (!('port' in this.#settings)) return;
    await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(([code]) => {
        throw new Error(`${this.name} ended with code ${code} before it listened`);
      }),
    ]);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || this.ended !== undefined) return;
    this.#child = undefined;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}

/** A consumer, with what it has written down. */
export class ConsumerProcess extends Killable {
  readonly state: ConsumerState;
  readonly #diary: DiaryReader;
  readonly #ledger: Ledger;

  constructor(name: string, settings: ConsumerSettings, ledger: Ledger) {
    super(name, './consumer.js', settings);
    this.state = consumerState(name);
    this.#diary = new DiaryReader(settings.diary);
    this.#ledger = ledger;
  }

  /** Enters what it has written since. */
  read(): void {
    for (const entry of this.#diary.read()) this.#ledger.enter(this.state, entry);
  }

  close(): void {
    this.#diary.close();
  }
}
