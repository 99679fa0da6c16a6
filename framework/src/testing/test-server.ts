import type { Logger } from 'pino';
import { type Client, type ClientOptions, connect } from '../client/client.js';
import { ClientConnection, type Connection } from '../client/connection.js';
import type { ConnectionOptions } from '../client/options.js';
import { checkNumber } from '../limits.js';
import { createLogger, type LogLevel } from '../logging/logger.js';
import type { ServeOptions } from '../server/options.js';
import { type RunningServer, type Server, serve } from '../server/serve.js';
import type { ServiceDescriptor } from '../service/descriptor.js';
import { Link, type TestLink } from './test-link.js';

/** What `startTest` takes: the options of `serve`, but for those that a test does not choose. */
export interface TestOptions
  extends Omit<ServeOptions, 'host' | 'port' | 'path' | 'pathMode' | 'threads' | 'signals'> {
  /** For all connections of the test. */
  readonly connection?: ConnectionOptions;
}

/** A server for a test, with what a test needs around it. `await using` or `close()` ends all of it. */
export interface TestServer extends AsyncDisposable {
  /** What `serve` returned: its port, and its statistics. */
  readonly server: Server;
  /** `127.0.0.1` with the port: a target for other clients. */
  readonly target: string;
  /** The connection that the clients of this test share. */
  readonly connection: Connection;
  /** A client of one of the services. */
  client<S extends ServiceDescriptor>(service: S, options?: ClientOptions): Client<S>;
  /** A connection of its own, with further options; closed with the test. */
  connect(options?: ConnectionOptions): Connection;
  /** A network of its own between a client and the server, to be cut, stalled or slowed down. */
  link(options?: ConnectionOptions): Promise<TestLink>;
  /**
   * Moves the engines' clocks ahead, the server's and those of this test's connections. What they time
   * comes due as if that much time had passed: deadlines of calls under way, keepalive, limits on
   * age and idleness. It happens in the next turns of the event loop: await what you expect.
   *
   * `Date.now()`, `setTimeout` and whatever uses them stand still: back-off before reconnecting or
   * retrying, hedging, the grace of handlers, the drain, and your own code. Those are for the
   * fake timers of your test runner.
   *
   * @param milliseconds whole, from 0 on
   * @throws MillraceError MILLRACE_OPTION_INVALID
   */
  advance(milliseconds: number): void;
  /** Cuts off what is under way, closes connections, links and server. Again is the same. */
  close(): Promise<void>;
}

const LONGEST_MS = 0x7fffffff;

/**
 * Serves on a free port of the loopback interface, and connects with the first call.
 *
 * ```ts
 * await using t = await startTest({ services: [orders] });
 * const reply = await t.client(Orders).get({ id: '17' });
 * ```
 *
 * What goes wrong in handlers is logged; nothing else is, unless `log`, `logger` or LOG_LEVEL say so.
 *
 * @throws as `serve` and `connection`
 */
export async function startTest(options: TestOptions): Promise<TestServer> {
  const { connection = {}, ...rest } = options;
  const logger = rest.logger ?? testLogger(rest.log?.level);
  const server = await serve({ ...rest, logger, host: '127.0.0.1', port: 0, signals: false });
  const test = new RunningTest(server as RunningServer & Server, { logger, ...connection });
  // With the method that is defined below, by a symbol that the compiler cannot follow.
  return test as RunningTest & AsyncDisposable;
}

class RunningTest {
  readonly server: RunningServer & Server;
  readonly target: string;
  readonly connection: Connection;
  readonly #options: ConnectionOptions;
  readonly #connections: ClientConnection[] = [];
  readonly #links: Link[] = [];
  #closing: Promise<void> | undefined;

  constructor(server: RunningServer & Server, options: ConnectionOptions) {
    this.server = server;
    this.target = `127.0.0.1:${server.port}`;
    this.#options = options;
    this.connection = this.connect();
  }

  client<S extends ServiceDescriptor>(service: S, options?: ClientOptions): Client<S> {
    return connect(service, this.connection, options);
  }

  connect(options?: ConnectionOptions): Connection {
    return this.#connect(this.target, options);
  }

  #connect(target: string, options: ConnectionOptions | undefined): Connection {
    const made = new ClientConnection(target, { ...this.#options, ...options });
    this.#connections.push(made);
    return made;
  }

  async link(options?: ConnectionOptions): Promise<TestLink> {
    const link = await Link.open(this.server.port);
    this.#links.push(link);
    link.connection = this.#connect(link.target, options);
    return link;
  }

  advance(milliseconds: number): void {
    const checked = checkNumber('milliseconds', milliseconds, 0, LONGEST_MS);
    this.server.advance(checked);
    // Connections with the same options share an engine.
    const engines = new Set(this.#connections.map(({ channel }) => channel.thread.engine));
    for (const engine of engines) engine?.advance(checked);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.close(0)));
    await Promise.all(this.#links.map((link) => link.close()));
    await this.server.close({ drainTimeoutMs: 0 });
  }
}

// Early releases of Node 20 know the symbol only by this name.
const asyncDispose = Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose');
Object.defineProperty(RunningTest.prototype, asyncDispose, {
  value(this: RunningTest): Promise<void> {
    return this.close();
  },
});

function testLogger(given: LogLevel | undefined): Logger {
  const level = given ?? (process.env['LOG_LEVEL'] as LogLevel | undefined);
  if (level !== undefined) return createLogger(level);
  // The line `listening` is written at every level, and a test knows that its server listens.
  return createLogger('error', {
    write: (line) => line.startsWith(INFO_LINE) || process.stdout.write(line),
  });
}

/** How pino begins a line of level `info`. */
const INFO_LINE = '{"level":30,';
