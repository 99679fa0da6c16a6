import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { NativeTls } from '../bridge/native.js';
import { MillraceError } from '../errors.js';
import type { Endpoint } from './endpoint.js';
import type { CheckedOptions } from './options.js';
import type { ThreadStats } from './stats.js';
import type { CloseResult, Threads } from './thread.js';
import type { Asked, Said, WorkerSetup } from './worker-protocol.js';

type Listening = Extract<Said, { kind: 'listening' }>;
type Question =
  | { readonly kind: 'stats' }
  | { readonly kind: 'secure'; readonly tls: NativeTls }
  | { readonly kind: 'close'; readonly timeoutMs: number };

/** A thread that dies is replaced after so long; twice as long after each early death. */
const RESTART_MS = 250;
const RESTART_MS_MAX = 30_000;
/** A thread that lived so long was no early death. */
const SETTLED_MS = 60_000;

/**
 * Server threads that share a port; the kernel spreads connections over them (SO_REUSEPORT). Those of
 * a Unix socket they deal among themselves.
 */
export class ThreadPool implements Threads {
  readonly #options: CheckedOptions;
  readonly #url: URL;
  readonly #logger: Logger;
  readonly #workers: (ServerWorker | undefined)[];
  readonly #restarts = new Set<NodeJS.Timeout>();
  /** With the port that the first thread found. */
  #endpoint: Endpoint;
  #first: Listening | undefined;
  #tls: NativeTls | undefined;
  #closing = false;

  private constructor(options: CheckedOptions, url: URL, tls: NativeTls | undefined) {
    this.#tls = tls;
    this.#options = options;
    this.#url = url;
    this.#logger = options.logger;
    this.#workers = new Array(options.threads).fill(undefined);
    this.#endpoint = options.endpoint;
  }

  /** The first thread finds the port, so that port 0 is the same for all. */
  static async start(
    options: CheckedOptions,
    url: URL,
    tls: NativeTls | undefined,
  ): Promise<[ThreadPool, number]> {
    const pool = new ThreadPool(options, url, tls);
    try {
      pool.#first = await pool.#startWorker(0);
      if ('port' in pool.#endpoint) {
        pool.#endpoint = { ...pool.#endpoint, port: pool.#first.port };
      }
      const rest = Array.from({ length: options.threads - 1 }, (_, index) => index + 1);
      await Promise.all(rest.map((thread) => pool.#startWorker(thread)));
    } catch (error) {
      await pool.close(0);
      throw error;
    }
    return [pool, pool.#first.port];
  }

  get driver(): string {
    return this.#first!.driver;
  }

  get driverReason(): string {
    return this.#first!.driverReason;
  }

  get size(): number {
    return this.#workers.length;
  }

  async stats(): Promise<readonly ThreadStats[]> {
    const said = await this.#ask({ kind: 'stats' });
    return said.flatMap((answer) => (answer?.kind === 'stats' ? [answer.stats] : []));
  }

  async secure(tls: NativeTls): Promise<void> {
    for (const answer of await this.#ask({ kind: 'secure', tls })) {
      if (answer?.kind !== 'secured' || answer.error === undefined) continue;
      const { code, message } = answer.error;
      throw Object.assign(new Error(message), { code });
    }
    // Threads that are started later have them too.
    this.#tls = tls;
  }

  async close(timeoutMs: number): Promise<CloseResult> {
    this.#closing = true;
    for (const timer of this.#restarts) clearTimeout(timer);
    const said = await this.#ask({ kind: 'close', timeoutMs });
    await Promise.all(this.#workers.map((worker) => worker?.end()));
    let completed = 0;
    let aborted = 0;
    for (const answer of said) {
      if (answer?.kind !== 'closed') continue;
      completed += answer.result.completed;
      aborted += answer.result.aborted;
    }
    return { completed, aborted };
  }

  /** Which handlers run is known to their threads alone, and there is no time to ask them. */
  unfinished(): string[] {
    return this.#workers.flatMap((worker, thread) =>
      worker === undefined ? [] : [`thread ${thread}`],
    );
  }

  #ask(question: Question): Promise<(Said | undefined)[]> {
    return Promise.all(
      this.#workers.map((worker) => (worker === undefined ? undefined : worker.ask(question))),
    );
  }

  async #startWorker(thread: number, delayMs = RESTART_MS): Promise<Listening> {
    const setup: WorkerSetup = {
      thread,
      services: this.#url.href,
      logLevel: this.#options.logLevel,
      options: this.#options.thread,
      endpoint: this.#endpoint,
      tls: this.#tls,
    };
    const startedAt = performance.now();
    const worker = new ServerWorker(setup);
    this.#workers[thread] = worker;
    try {
      return await worker.listening;
    } finally {
      void worker.exited.then((error) => {
        if (this.#workers[thread] === worker) this.#workers[thread] = undefined;
        if (this.#closing || this.#first === undefined) return;
        const early = performance.now() - startedAt < SETTLED_MS;
        const wait = early ? delayMs : RESTART_MS;
        this.#logger.error({ err: error, thread, wait }, 'a server thread died; replacing it');
        this.#restart(thread, wait, Math.min(2 * wait, RESTART_MS_MAX));
      });
    }
  }

  #restart(thread: number, waitMs: number, nextMs: number): void {
    const timer = setTimeout(() => {
      this.#restarts.delete(timer);
      // Its failure to start is an exit too, and seen there.
      this.#startWorker(thread, nextMs).catch(() => {});
    }, waitMs);
    this.#restarts.add(timer);
  }
}

/** One worker, with questions and answers. */
class ServerWorker {
  readonly listening: Promise<Listening>;
  /** Resolves with what ended it. */
  readonly exited: Promise<unknown>;
  readonly #worker: Worker;
  readonly #asked = new Map<number, (answer: Said | undefined) => void>();
  #nextId = 1;
  #gone = false;

  constructor(setup: WorkerSetup) {
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: setup,
      name: `millrace ${setup.thread}`,
    });
    let cause: unknown;
    this.#worker.on('error', (error) => {
      cause = error;
    });
    this.exited = once(this.#worker, 'exit').then(
      () => cause,
      (error: unknown) => error,
    );
    this.listening = new Promise((resolve, reject) => {
      this.#worker.on('message', (said: Said) => {
        if (said.kind === 'listening') {
          resolve(said);
          return;
        }
        this.#asked.get(said.id)?.(said);
        this.#asked.delete(said.id);
      });
      void this.exited.then((error) => {
        this.#gone = true;
        for (const answer of this.#asked.values()) answer(undefined);
        this.#asked.clear();
        reject(startFailure(error, setup.thread));
      });
    });
  }

  /** `undefined` when the thread is gone. */
  ask(question: Question): Promise<Said | undefined> {
    return new Promise((resolve) => {
      if (this.#gone) {
        resolve(undefined);
        return;
      }
      const id = this.#nextId++;
      this.#asked.set(id, resolve);
      const asked: Asked = { id, ...question };
      this.#worker.postMessage(asked);
    });
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** Errors with a code of ours cross as they are; others get one. */
function startFailure(error: unknown, thread: number): Error {
  if (
    error instanceof Error &&
    String((error as { code?: unknown }).code).startsWith('MILLRACE_')
  ) {
    return error;
  }
  return new MillraceError('MILLRACE_WORKER_FAILED', `server thread ${thread} could not start`, {
    cause: error,
  });
}
