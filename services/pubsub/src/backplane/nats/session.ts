// One connection to NATS, from its probe to its loss. The client could reconnect by itself, but then what
// was under way would wait for its own time-out, and what is written meanwhile would be thrown away
// silently. A connection that is lost stays lost; the next one is another session.

import type { JetStreamManager, StreamConfig, StreamInfo } from '@nats-io/jetstream';
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import type { Logger } from '../backplane.js';
import type { Client } from './client.js';
import type { Settings } from './options.js';
import type { Names } from './subjects.js';

/** What the server must be able to do: consumers by name, among others. */
const VERSION_LEAST = [2, 9];
const CONNECT_MS = 5000;
const ANSWER_MS = 5000;
const CLOSE_MS = 2000;
/** A peer that vanished without a word is noticed within three of these. */
const PING_EVERY_MS = 5000;
/** Nothing says so when a stream is deleted and made anew. */
const LOOK_FOR_STREAM_EVERY_MS = 2000;
const NANOSECONDS = 1_000_000;

/** Error codes of the JetStream API (server/errors.json of nats-server 2.9). */
export const ApiCode = {
  INSUFFICIENT_RESOURCES: 10_023,
  RESOURCE_LIMITS_EXCEEDED: 10_028,
  NOT_ENABLED_FOR_ACCOUNT: 10_039,
  STORAGE_RESOURCES_EXCEEDED: 10_047,
  MESSAGE_TOO_LARGE: 10_054,
  STREAM_NOT_FOUND: 10_059,
  SUBJECT_OVERLAP: 10_065,
  NOT_ENABLED: 10_076,
  STORE_FAILED: 10_077,
  CONSUMER_NOT_FOUND: 10_014,
} as const;

/** What a session needs to know. */
export interface SessionHost {
  readonly client: Client;
  readonly settings: Settings;
  readonly names: Names;
  /** At most the age of events: nats-server does not take more. */
  readonly duplicateWindowMs: number;
  readonly logger: Logger;
}

export class Session {
  readonly client: Client;
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly names: Names;
  /** When the stream was created, by which it is known. It is the same as long as the session lasts. */
  readonly created: string;
  /** When it began, by performance.now(). */
  readonly since = performance.now();
  /** Settles when the session is over, with the reason. */
  readonly lost: Promise<string>;
  readonly #endings = new Set<(reason: string) => void>();
  #lost = false;
  #reason: string | undefined;

  private constructor(host: SessionHost, connection: NatsConnection, probed: Probed) {
    this.client = host.client;
    this.names = host.names;
    this.connection = connection;
    this.manager = probed.manager;
    this.created = probed.stream.created;
    const timer = setInterval(() => {
      // What it does not answer in time is noticed by others.
      this.stream().catch(() => {});
    }, LOOK_FOR_STREAM_EVERY_MS);
    timer.unref();
    this.lost = connection.closed().then((error) => {
      clearInterval(timer);
      this.#lost = true;
      const reason =
        this.#reason ?? (error instanceof Error ? messageOf(error) : 'the connection was closed');
      for (const ending of this.#endings) ending(reason);
      this.#endings.clear();
      return reason;
    });
    void this.#watch(host.logger);
  }

  /** @throws Error with what is missing on the server and the remedy */
  static async open(host: SessionHost): Promise<Session> {
    const { client, settings } = host;
    let connection: NatsConnection;
    try {
      connection = await client.connect({
        name: `millrace ${host.names.stream}`,
        ...settings.connection,
        ...(settings.user === undefined ? {} : { user: settings.user }),
        ...(settings.password === undefined ? {} : { pass: settings.password }),
        ...(settings.token === undefined ? {} : { token: settings.token }),
        servers: [...settings.servers],
        reconnect: false,
        timeout: CONNECT_MS,
        pingInterval: PING_EVERY_MS,
        maxPingOut: 2,
      });
    } catch (error) {
      throw new Error(
        `NATS cannot be reached at ${settings.servers.join(', ')}: ${messageOf(error)}; ` +
          'see that nats-server runs there (nats-server -js -sd DIRECTORY) and lets this client in',
        { cause: error },
      );
    }
    try {
      return new Session(host, connection, await probe(host, connection));
    } catch (error) {
      await connection.close().catch(() => {});
      throw error;
    }
  }

  get over(): boolean {
    return this.#lost || this.#reason !== undefined;
  }

  /** Calls back when the session is over, unless that is called off before. */
  whenOver(ending: (reason: string) => void): () => void {
    this.#endings.add(ending);
    return () => this.#endings.delete(ending);
  }

  /** Ends the session: something is wrong that a new one may set right. */
  fail(reason: string): void {
    if (this.over) return;
    this.#reason = reason;
    void this.connection.close().catch(() => {});
  }

  /** Ends it when what was written, acknowledgements above all, has reached the server. */
  async close(): Promise<void> {
    if (this.over) return;
    // A server that does not answer any more is not waited for.
    const timer = setTimeout(() => this.fail('the server did not answer at the end'), CLOSE_MS);
    this.connection.drain().catch(() => this.fail('the connection was lost at the end'));
    await this.lost;
    clearTimeout(timer);
  }

  /** Writes a message. Where that cannot be, the session is over: who waits for an answer hears of it. */
  publish(subject: string, payload: Uint8Array | string, options?: PublishOptions): void {
    if (this.over) return;
    try {
      this.connection.publish(subject, payload, options);
    } catch (error) {
      this.fail(messageOf(error));
    }
  }

  /** Whether the server is so old that {@link Names.filter} matters. */
  get countsSlowly(): boolean {
    return !isRecent(this.connection.info?.version ?? '', [2, 9, 15]);
  }

  /** Bytes of a message with its headers that the server takes. */
  get payloadMost(): number {
    return this.connection.info?.max_payload ?? Number.POSITIVE_INFINITY;
  }

  /** A subscription whose callback is never given an error: that of a permission ends the session. */
  subscribe(subject: string, receive: (message: Msg) => void, queue?: string): Subscription {
    return this.connection.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (error !== null) {
          this.fail(error.message);
          return;
        }
        try {
          receive(message);
        } catch (thrown) {
          this.fail(messageOf(thrown));
        }
      },
    });
  }

  /** Everything that was written before has reached the server, and what it had sent has been received. */
  flush(): Promise<void> {
    return this.#whileOpen(this.connection.flush());
  }

  /** The state of the space's stream. If it is another one than before, the session is over. */
  async stream(): Promise<StreamInfo> {
    const info = await this.ask((manager) => manager.streams.info(this.names.stream));
    if (info.created !== this.created) {
      this.fail('the stream was deleted and made anew');
      throw new Error('the stream was deleted and made anew');
    }
    return info;
  }

  /** The code of an error of the JetStream API. */
  codeOf(error: unknown): number | undefined {
    return error instanceof this.client.JetStreamApiError ? error.code : undefined;
  }

  /** Whether an error is one of the connection, or of a server that does not answer: another session may help. */
  isTrouble(error: unknown): boolean {
    if (this.over) return true;
    if (!(error instanceof Error)) return false;
    const { errors } = this.client;
    // That JetStream has no responders is wrapped once more.
    const { cause } = error;
    return [
      errors.ClosedConnectionError,
      errors.ConnectionError,
      errors.DrainingConnectionError,
      errors.NoRespondersError,
      errors.ProtocolError,
      errors.RequestError,
      errors.TimeoutError,
    ].some((kind) => error instanceof kind || cause instanceof kind);
  }

  /** An answer of the server, which is given up when the session is over. */
  #whileOpen<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const callOff = this.whenOver((reason) => reject(new Error(reason)));
      answer.then(resolve, reject).finally(callOff);
    });
  }

  /** The same for any request to the JetStream API. Without a stream the session is over: the next one makes it. */
  async ask<T>(request: (manager: JetStreamManager) => Promise<T>): Promise<T> {
    try {
      return await this.#whileOpen(request(this.manager));
    } catch (error) {
      if (this.codeOf(error) === ApiCode.STREAM_NOT_FOUND) this.fail('the stream was deleted');
      throw error;
    }
  }

  async #watch(logger: Logger): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === 'error')
        logger.warn({ err: status.error }, 'pub/sub: an error from NATS');
      else if (status.type === 'ldm') this.fail('the server is about to shut down');
    }
  }
}

type PublishOptions = NonNullable<Parameters<NatsConnection['publish']>[2]>;

interface Probed {
  readonly manager: JetStreamManager;
  readonly stream: StreamInfo;
}

/** Whether the server can do what is needed, and the stream is there and as it has to be. */
async function probe(host: SessionHost, connection: NatsConnection): Promise<Probed> {
  const { info } = connection;
  const where = `nats-server ${info?.version ?? '(unknown)'} at ${connection.getServer()}`;
  if (info === undefined || !isRecent(info.version, VERSION_LEAST)) {
    throw new Error(`${where} is too old: ${VERSION_LEAST.join('.')} or newer is needed`);
  }
  if (info.headers !== true) {
    throw new Error(`${where} does not take headers: remove no_headers from its configuration`);
  }
  if (info.jetstream !== true) {
    throw new Error(
      `${where} runs without JetStream: start it with -js -sd DIRECTORY, or put jetstream { store_dir: DIRECTORY } into its configuration`,
    );
  }
  const manager = await host.client
    .jetstreamManager(connection, { timeout: ANSWER_MS })
    .catch((error: unknown) => {
      const code = error instanceof host.client.JetStreamApiError ? error.code : undefined;
      const why =
        code === ApiCode.NOT_ENABLED_FOR_ACCOUNT
          ? 'JetStream is not enabled for the account of this user: enable it in the configuration of the account'
          : `JetStream does not answer: ${messageOf(error)}`;
      throw new Error(`${where}: ${why}`, { cause: error });
    });
  return { manager, stream: await provideStream(host, manager, where) };
}

function isRecent(version: string, least: readonly number[]): boolean {
  const has = version.split(/[.-]/).map(Number);
  for (const [index, number] of least.entries()) {
    const difference = (has[index] ?? 0) - number;
    if (difference !== 0) return difference > 0;
  }
  return true;
}

async function provideStream(
  host: SessionHost,
  manager: JetStreamManager,
  where: string,
): Promise<StreamInfo> {
  const { names, settings, client } = host;
  const codeOf = (error: unknown) =>
    error instanceof client.JetStreamApiError ? error.code : undefined;
  let found: StreamInfo;
  try {
    found = await manager.streams.info(names.stream);
  } catch (error) {
    if (codeOf(error) !== ApiCode.STREAM_NOT_FOUND) {
      throw new Error(`${where}: the stream ${names.stream} cannot be read: ${messageOf(error)}`, {
        cause: error,
      });
    }
    try {
      found = await manager.streams.add(wantedStream(host));
    } catch (failure) {
      const remedy =
        codeOf(failure) === ApiCode.SUBJECT_OVERLAP
          ? `another stream takes ${names.allStored}; take another space, or remove that stream`
          : `its limits are max_bytes ${settings.retention.bytes || 'none'}, replicas ${settings.replicas}: lower the option retention or replicas, or raise max_file_store of the server or the limits of the account`;
      throw new Error(
        `${where}: the stream ${names.stream} cannot be created: ${messageOf(failure)}; ${remedy}`,
        { cause: failure },
      );
    }
    host.logger.info({ stream: names.stream }, `pub/sub: created the stream at ${where}`);
  }
  const wanted = wantedStream(host);
  const { config } = found;
  for (const [name, value, is] of [
    ['storage', wanted.storage, config.storage],
    ['retention', wanted.retention, config.retention],
    ['discard', wanted.discard, config.discard],
    ['subjects', wanted.subjects[0], config.subjects.join(', ')],
    ['duplicate_window', wanted.duplicate_window, config.duplicate_window],
  ] as const) {
    if (is === value) continue;
    throw new Error(
      `${where}: the stream ${names.stream} has ${name} ${is}, and ${value} is needed: take another space, or change the stream`,
    );
  }
  const differing = (['max_msgs', 'max_bytes', 'max_age', 'num_replicas'] as const).filter(
    (name) => config[name] !== wanted[name],
  );
  if (differing.length > 0) {
    host.logger.warn(
      {
        stream: names.stream,
        has: Object.fromEntries(differing.map((name) => [name, config[name]])),
        wanted: Object.fromEntries(differing.map((name) => [name, wanted[name]])),
      },
      'pub/sub: the stream exists with other bounds, which stay as they are; change them on the server (nats stream edit)',
    );
  }
  return found;
}

function wantedStream(host: SessionHost) {
  const { names, settings, duplicateWindowMs } = host;
  const { count, bytes, ageMs } = settings.retention;
  return {
    name: names.stream,
    description: 'Events of millrace.pubsub.v1',
    subjects: [names.allStored],
    storage: 'file',
    retention: 'limits',
    // Not the oldest: those may not be acknowledged by every group yet.
    discard: 'new',
    max_msgs: count === 0 ? -1 : count,
    max_bytes: bytes === 0 ? -1 : bytes,
    max_age: ageMs * NANOSECONDS,
    duplicate_window: duplicateWindowMs * NANOSECONDS,
    num_replicas: settings.replicas,
  } satisfies Partial<StreamConfig>;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
