import { channel } from 'node:diagnostics_channel';
import type { Logger } from 'pino';
import { loadNative } from '../bridge/native.js';
import { MillraceError } from '../errors.js';
import { always } from '../logging/logger.js';
import { isLocal } from './endpoint.js';
import { adopt, giveBackInherited, takeInherited } from './inherited.js';
import { type CheckedOptions, checkOptions, type ServeOptions } from './options.js';
import { loadServices } from './services-module.js';
import { type Signalled, unwatchSignals, watchSignals } from './signals.js';
import { type ServerStats, serverStats } from './stats.js';
import { type CloseResult, ThreadServer, type Threads } from './thread.js';
import { ThreadPool } from './threads.js';
import { readTls, type TlsOptions, watchTls } from './tls.js';

/** Whoever started this process may wait for `{ host, port, stats }` here. */
const listening = channel('millrace.listening');

/** A server that listens. */
export interface Server extends AsyncDisposable {
  /** As it was given. With a Unix socket: its address as a client's target names it, `unix:/run/x.sock`. */
  readonly host: string;
  /** 0 with a Unix socket. */
  readonly port: number;
  /** The driver that runs: `bundle`, `ring`, `classic` or `portable`. */
  readonly driver: string;
  /** Threads that serve. */
  readonly threads: number;
  /** Where the server logs: the one that was given, or its own. */
  readonly logger: Logger;
  /** What is open and what was counted, by thread and in total. */
  stats(): Promise<ServerStats>;
  /**
   * Reads certificates and key again; connections that are made from then on have them, those that
   * exist keep theirs.
   *
   * @throws MillraceError MILLRACE_TLS_OFF, MILLRACE_TLS_FILE; Error with a code MILLRACE_TLS_* for
   * certificates that cannot be used. The server goes on with those it has.
   */
  reloadTls(): Promise<void>;
  /**
   * Stops listening and lets calls end for `drainTimeoutMs`, then cancels the rest with UNAVAILABLE.
   * Again is the same close.
   */
  close(options?: {
    /** Instead of the option of `serve`. */
    readonly drainTimeoutMs?: number;
  }): Promise<CloseResult>;
}

/**
 * Serves gRPC over HTTP/2, with `tls` or with prior knowledge. Resolves when connections are
 * accepted, which the log line `listening` says too, and the diagnostics channel
 * `millrace.listening`.
 *
 * @throws MillraceError for options that are wrong or do not go together; Error with a `code` when
 * the port is taken, the host unknown, the driver unavailable or a certificate of no use
 */
export async function serve(options: ServeOptions): Promise<Server> {
  const given = checkOptions(options);
  const inherited = given.descriptor === undefined ? takeInherited() : undefined;
  const descriptor = given.descriptor ?? inherited;
  const giveBack = () => {
    if (inherited !== undefined) giveBackInherited(inherited);
  };
  let checked = given;
  let started: [Threads, number];
  try {
    if (descriptor !== undefined) checked = { ...given, endpoint: await adopt(descriptor) };
    started = await start(checked);
  } catch (error) {
    giveBack();
    throw error;
  }
  const [threads, port] = started;
  const { logger } = checked;
  const server = new RunningServer(threads, checked, port, giveBack);
  always(
    logger,
    {
      ...('unix' in checked.endpoint ? { path: server.host } : { host: server.host, port }),
      tls: checked.tls !== undefined,
      driver: threads.driver,
      driverReason: threads.driverReason,
      threads: threads.size,
    },
    'listening',
  );
  listening.publish({ host: server.host, port, stats: () => server.stats() });
  if (process.platform === 'linux' && checked.thread.engine['driver'] === 'auto') {
    if (threads.driver !== 'bundle') logger.warn({ driver: threads.driver }, threads.driverReason);
  }
  if (checked.tls === undefined && !isLocal(checked.endpoint)) {
    logger.warn(
      { host: server.host },
      'without TLS on an address that others may reach, they can read and change what is said: give serve() tls, put a proxy with TLS before it, or listen on 127.0.0.1',
    );
  }
  // With the method that is defined below, by a symbol that the compiler cannot follow.
  return server as RunningServer & AsyncDisposable;
}

async function start(checked: CheckedOptions): Promise<[Threads, number]> {
  const { services, threads, logger } = checked;
  const tls = checked.tls === undefined ? undefined : readTls(checked.tls);
  if (threads > 1) {
    if (process.platform === 'linux') return ThreadPool.start(checked, services as URL, tls);
    logger.warn(
      { threads, platform: process.platform },
      'this system does not balance connections between threads (SO_REUSEPORT): running one thread',
    );
  }
  const loaded =
    services instanceof URL ? await loadServices(services.href) : { services, interceptors: [] };
  const thread = new ThreadServer(
    await loadNative(),
    loaded.services,
    [...checked.interceptors, ...loaded.interceptors],
    logger,
    checked.thread,
  );
  let port: number;
  try {
    if (tls !== undefined) thread.secure(tls);
    port = thread.listen(checked.endpoint, false);
  } catch (error) {
    await thread.close(0);
    throw error;
  }
  return [
    {
      driver: thread.driver,
      driverReason: thread.driverReason,
      size: 1,
      stats: async () => [thread.stats()],
      close: (timeoutMs) => thread.close(timeoutMs),
      unfinished: () => thread.unfinished(),
      secure: async (material) => thread.secure(material),
      advance: (milliseconds) => thread.advance(milliseconds),
    },
    port,
  ];
}

/** As `millrace/testing` sees it. */
export class RunningServer implements Signalled {
  readonly host: string;
  readonly port: number;
  readonly logger: Logger;
  readonly #threads: Threads;
  readonly #drainTimeoutMs: number;
  readonly #tls: TlsOptions | undefined;
  readonly #unwatchTls: (() => void) | undefined;
  readonly #closed: () => void;
  #closing: Promise<CloseResult> | undefined;

  constructor(threads: Threads, checked: CheckedOptions, port: number, closed: () => void) {
    this.#threads = threads;
    this.#closed = closed;
    this.#drainTimeoutMs = checked.drainTimeoutMs;
    this.host = 'unix' in checked.endpoint ? checked.endpoint.unix : checked.endpoint.host;
    this.port = port;
    this.logger = checked.logger;
    this.#tls = checked.tls;
    this.#unwatchTls = checked.tls && watchTls(checked.tls, () => void this.#tlsChanged());
    if (checked.signals) watchSignals(this);
  }

  get driver(): string {
    return this.#threads.driver;
  }

  get threads(): number {
    return this.#threads.size;
  }

  async stats(): Promise<ServerStats> {
    return serverStats(await this.#threads.stats());
  }

  close(options: { readonly drainTimeoutMs?: number } = {}): Promise<CloseResult> {
    this.#closing ??= this.#close(options.drainTimeoutMs ?? this.#drainTimeoutMs);
    return this.#closing;
  }

  async reloadTls(): Promise<void> {
    if (this.#tls === undefined) throw new MillraceError('MILLRACE_TLS_OFF');
    await this.#threads.secure(readTls(this.#tls));
    this.logger.info({ event: 'tls_reloaded' }, 'new connections get the reloaded certificates');
  }

  /** A certificate and its key are two files: between their changes they do not fit each other. */
  async #tlsChanged(): Promise<void> {
    try {
      await this.reloadTls();
    } catch (error) {
      this.logger.warn(
        { err: error, event: 'tls_reload_failed' },
        'the changed certificates cannot be used; the server goes on with those it has',
      );
    }
  }

  unfinished(): string[] {
    return this.#threads.unfinished();
  }

  /** Moves the clock of the engine ahead; a server of several threads has none that could be moved. */
  advance(milliseconds: number): void {
    this.#threads.advance?.(milliseconds);
  }

  async #close(timeoutMs: number): Promise<CloseResult> {
    this.#unwatchTls?.();
    try {
      const result = await this.#threads.close(timeoutMs);
      this.logger.info(result, 'closed');
      return result;
    } finally {
      unwatchSignals(this);
      this.#closed();
    }
  }
}

// Early releases of Node 20 know the symbol only by this name.
const asyncDispose = Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose');
Object.defineProperty(RunningServer.prototype, asyncDispose, {
  async value(this: RunningServer): Promise<void> {
    await this.close();
  },
});
