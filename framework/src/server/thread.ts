import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Engine, type Notice } from '../bridge/engine.js';
import type { NativeEngineConstructor, NativeTls } from '../bridge/native.js';
import { encodingNumbers } from '../context/compression.js';
import type { Interceptor } from '../interceptors/interceptor.js';
import { type AttachedServices, CLOSE_WAIT_MS } from '../service/attached.js';
import type { Service } from '../service/service.js';
import { Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';
import { abandon, attachAll } from './attach.js';
import { Dispatcher } from './dispatch.js';
import type { Endpoint } from './endpoint.js';
import type { ThreadOptions } from './options.js';
import { routesOf } from './route.js';
import type { ThreadStats } from './stats.js';

/** How a drain went. */
export interface CloseResult {
  /** Calls that ended by themselves since the drain began. */
  readonly completed: number;
  /** Calls that were cancelled when its time was over. */
  readonly aborted: number;
}

/** What carries a server: this thread, or several. */
export interface Threads {
  readonly driver: string;
  readonly driverReason: string;
  readonly size: number;
  stats(): Promise<readonly ThreadStats[]>;
  close(timeoutMs: number): Promise<CloseResult>;
  unfinished(): string[];
  /** Takes other certificates for connections to come. */
  secure(tls: NativeTls): Promise<void>;
  /** Moves the clock ahead, for tests. */
  advance?(milliseconds: number): void;
}

/** The server of one thread: an engine, and the dispatcher that runs its calls. */
export class ThreadServer {
  readonly #engine: Engine;
  readonly #dispatcher: Dispatcher;
  readonly #logger: Logger;
  readonly #options: ThreadOptions;
  readonly #drainListeners: readonly (() => void)[];
  readonly #closeListeners: readonly (() => void | Promise<void>)[];
  #drained: (() => void) | undefined;
  #listened = false;
  #closing: Promise<CloseResult> | undefined;
  #lastStats: ThreadStats | undefined;

  constructor(
    Native: NativeEngineConstructor,
    services: readonly (Service | AttachedServices)[],
    interceptors: readonly Interceptor[],
    logger: Logger,
    options: ThreadOptions,
  ) {
    this.#logger = logger;
    this.#options = options;
    const attachment = attachAll(services, logger);
    this.#drainListeners = attachment.drainListeners;
    this.#closeListeners = attachment.closeListeners;
    try {
      const routes = routesOf(attachment.services, interceptors);
      this.#dispatcher = new Dispatcher(
        routes,
        logger,
        options.handlerGraceMs,
        (notice) => this.#notice(notice),
        options.compression,
      );
      const replyEncoding = encodingNumbers[options.compression];
      this.#engine = new Engine(Native, { ...options.engine, replyEncoding }, this.#dispatcher);
      this.#dispatcher.attach(this.#engine);
      this.#engine.register(routes.map(({ path, code }) => ({ path, kind: code })));
    } catch (error) {
      abandon(attachment.closeListeners);
      throw error;
    }
  }

  get driver(): string {
    return this.#engine.driver;
  }

  get driverReason(): string {
    return this.#engine.driverReason;
  }

  /** The paths of calls whose handlers still run. */
  unfinished(): string[] {
    return this.#dispatcher.unfinished();
  }

  /** @throws Error with a code MILLRACE_TLS_*; what was there before stays */
  secure(tls: NativeTls): void {
    this.#engine.secure(tls);
  }

  advance(milliseconds: number): void {
    this.#engine.advance(milliseconds);
  }

  /**
   * Returns the port, 0 for a Unix socket. `shared`: with the other threads of this server.
   *
   * @throws Error with a MILLRACE_* code
   */
  listen(endpoint: Endpoint, shared: boolean): number {
    const port = this.#listen(endpoint, shared);
    this.#listened = true;
    return port;
  }

  #listen(endpoint: Endpoint, shared: boolean): number {
    const { backlog } = this.#options;
    if (endpoint.descriptor !== undefined) {
      this.#engine.listenDescriptor(endpoint.descriptor);
      return 'unix' in endpoint ? 0 : endpoint.port;
    }
    if ('unix' in endpoint) {
      this.#engine.listenUnix(endpoint.unix, endpoint.mode, shared, backlog);
      return 0;
    }
    return this.#engine.listen(endpoint.host, endpoint.port, shared, backlog);
  }

  stats(): ThreadStats {
    if (this.#lastStats !== undefined) return this.#lastStats;
    return { ...this.#engine.stats(), ...this.#dispatcher.stats } as ThreadStats;
  }

  /** Stops listening, lets calls end for so long, cancels the rest. Again is the same. */
  close(timeoutMs: number): Promise<CloseResult> {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async #close(timeoutMs: number): Promise<CloseResult> {
    for (const listener of this.#drainListeners) listener();
    // What calls say because of it leaves before the GOAWAY.
    if (this.#drainListeners.length > 0) {
      await turn();
      this.#engine.flush();
    }
    const before = this.#dispatcher.stats.handlersFinished;
    const drained = new Promise<void>((resolve) => {
      this.#drained = resolve;
    });
    // They would not end by themselves.
    this.#dispatcher.endSubscriptions(
      new StatusError(Status.UNAVAILABLE, 'the server is shutting down'),
    );
    this.#engine.drain();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([drained, late]);
    clearTimeout(timer);
    const completed = this.#dispatcher.stats.handlersFinished - before;
    const aborted = this.#dispatcher.abortAll('the server is shutting down');
    this.#engine.flush();
    // Two turns of the event loop, so that the last statuses leave.
    await turn();
    await turn();
    this.#lastStats = this.stats();
    this.#dispatcher.close();
    this.#engine.close();
    await this.#tellClosed();
    return { completed, aborted };
  }

  async #tellClosed(): Promise<void> {
    if (this.#closeListeners.length === 0) return;
    const told = Promise.allSettled(this.#closeListeners.map(async (listener) => listener()));
    const waited = new AbortController();
    const late = delay(CLOSE_WAIT_MS, 'late' as const, { signal: waited.signal });
    late.catch(() => {}); // Stopped below.
    const outcomes = await Promise.race([told, late]);
    waited.abort();
    if (outcomes === 'late') {
      this.#logger.warn(
        { event: 'close-late', waitedMs: CLOSE_WAIT_MS },
        'an attached service has not given back what it holds in time',
      );
      return;
    }
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') continue;
      this.#logger.warn(
        { event: 'close-failed', err: outcome.reason },
        'an attached service failed to close',
      );
    }
  }

  #notice({ level, message, ...fields }: Notice): void {
    if (fields.event === 'drained') {
      this.#drained?.();
      // Where it could not listen that is said, and nobody was there to be waited for.
      if (!this.#listened) return;
    }
    this.#logger[level](fields, message);
  }
}
