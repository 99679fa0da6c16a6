// Keeps a session with NATS: opens it, notices its loss, opens the next. Who needs one waits here.

import { Status, type StatusError } from 'millrace';
import { notNow } from '../../refusals.js';
import { type Client, loadClient } from './client.js';
import { messageOf, Session, type SessionHost } from './session.js';

const RETRY_LEAST_MS = 100;
const RETRY_MOST_MS = 2000;
/** A session that was lost sooner counts as a failure: the next one is not opened at once. */
const STABLE_MS = 1000;
/** What clients are told to wait after UNAVAILABLE. */
const RETRY_AFTER_MS = 1000;

/** What a part of the backplane does when a session begins and ends. */
export interface Follower {
  /** There is a session. */
  begin(session: Session): void;
  /** It is over. */
  end(): void;
}

export class Broker {
  readonly #host: Omit<SessionHost, 'client'>;
  readonly #followers: Follower[] = [];
  readonly #waiting = new Set<Waiting>();
  readonly #running: Promise<void>;
  #session: Session | undefined;
  /** Why there is no session. */
  #trouble = 'NATS is being connected';
  #closed = false;
  #wake: (() => void) | undefined;
  sessions = 0;
  /** How often the stream was another one than before. */
  streamReplaced = 0;
  /** The stream of the last session. */
  #stream: string | undefined;
  #replacedIn: Session | undefined;

  constructor(host: Omit<SessionHost, 'client'>) {
    this.#host = host;
    this.#running = this.#run();
  }

  get session(): Session | undefined {
    return this.#session;
  }

  /** Followers begin in this order. To be called before anything else. */
  follow(...followers: Follower[]): void {
    this.#followers.push(...followers);
  }

  /** What a call gets that cannot wait any longer. */
  unavailable(detail = this.#trouble): StatusError {
    return notNow(Status.UNAVAILABLE, detail, RETRY_AFTER_MS);
  }

  /**
   * The session; or the next one, if it comes within `waitMs`.
   *
   * @throws StatusError UNAVAILABLE
   */
  ready(signal: () => AbortSignal): Session | Promise<Session> {
    return this.#await(signal, this.#host.settings.waitMs);
  }

  /**
   * The same for a call that has begun, and stays however long NATS is away.
   *
   * @throws StatusError UNAVAILABLE when the call is over, or this side
   */
  again(signal: () => AbortSignal): Session | Promise<Session> {
    return this.#await(signal, undefined);
  }

  /** Somebody has found another stream than there was, in this session. */
  replaced(session: Session): void {
    if (session === this.#replacedIn) return;
    this.#replacedIn = session;
    this.streamReplaced++;
    const { names, logger } = this.#host;
    logger.error(
      { stream: names.stream, created: session.created },
      'pub/sub: the stream was deleted and made anew, or restored from a copy, so that sequences go back: subscribers go on with its first event that they have not seen',
    );
  }

  #await(signal: () => AbortSignal, waitMs: number | undefined): Session | Promise<Session> {
    if (this.#session !== undefined) return this.#session;
    if (this.#closed) throw this.unavailable();
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        call.removeEventListener('abort', giveUp);
        this.#waiting.delete(waiting);
      };
      const giveUp = () => {
        end();
        reject(this.unavailable());
      };
      const waiting: Waiting = {
        go(session) {
          end();
          resolve(session);
        },
        giveUp,
      };
      const call = signal();
      const timer = waitMs === undefined ? undefined : setTimeout(giveUp, waitMs);
      this.#waiting.add(waiting);
      call.addEventListener('abort', giveUp);
      if (call.aborted) giveUp();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#trouble = 'the server is shutting down';
    for (const waiting of [...this.#waiting]) waiting.giveUp();
    this.#wake?.();
    await this.#session?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { logger } = this.#host;
    let client: Client;
    try {
      client = await loadClient();
    } catch (error) {
      this.#trouble = `the NATS client cannot be loaded: ${messageOf(error)}`;
      logger.error({ err: error }, `pub/sub: ${this.#trouble}`);
      return;
    }
    let failures = 0;
    while (!this.#closed) {
      let session: Session;
      try {
        session = await Session.open({ ...this.#host, client });
      } catch (error) {
        const trouble = messageOf(error);
        // Once for each reason: it may be so for hours.
        if (trouble !== this.#trouble) {
          logger.error({ err: error }, `pub/sub: ${trouble}; tried again until it works`);
        }
        if (!this.#closed) this.#trouble = trouble;
        failures++;
        await this.#pause(Math.min(RETRY_LEAST_MS * 2 ** failures, RETRY_MOST_MS));
        continue;
      }
      if (this.#closed) {
        await session.close();
        return;
      }
      this.sessions++;
      const since = performance.now();
      this.#begin(session);
      const reason = await session.lost;
      this.#end();
      if (this.#closed) break;
      this.#trouble = `NATS is not connected: ${reason}`;
      logger.warn(`pub/sub: ${this.#trouble}; connecting again`);
      failures = performance.now() - since < STABLE_MS ? failures + 1 : 0;
      const pause = Math.min(RETRY_LEAST_MS * 2 ** failures, RETRY_MOST_MS);
      await this.#pause(pause * (0.5 + Math.random() / 2));
    }
  }

  #begin(session: Session): void {
    const { names, logger } = this.#host;
    this.#session = session;
    logger.info(
      { stream: names.stream, server: session.connection.getServer() },
      `pub/sub: connected to nats-server ${session.connection.info?.version}`,
    );
    if (this.#stream !== undefined && this.#stream !== session.created) this.replaced(session);
    this.#stream = session.created;
    for (const follower of this.#followers) follower.begin(session);
    for (const waiting of [...this.#waiting]) waiting.go(session);
  }

  #end(): void {
    this.#session = undefined;
    for (const follower of this.#followers) follower.end();
  }

  #pause(ms: number): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#wake = done;
    });
  }
}

interface Waiting {
  go(session: Session): void;
  giveUp(): void;
}
