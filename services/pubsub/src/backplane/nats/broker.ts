// Keeps a session with NATS: opens it, notices its loss, opens the next. Who needs one waits here.

import { Status, type StatusError } from 'millrace';
import { notNow } from '../../refusals.js';
import { type Client, loadClient } from './client.js';
import { messageOf, Session, type SessionHost } from './session.js';

const RETRY_LEAST_MS = 100;
const RETRY_MOST_MS = 2000;
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
    if (this.#session !== undefined) return this.#session;
    if (this.#closed) throw this.unavailable();
    const { waitMs } = this.#host.settings;
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
      const timer = setTimeout(giveUp, waitMs);
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
      failures = 0;
      this.sessions++;
      this.#begin(session);
      const reason = await session.lost;
      this.#end();
      if (this.#closed) break;
      this.#trouble = `NATS is not connected: ${reason}`;
      logger.warn(`pub/sub: ${this.#trouble}; connecting again`);
      await this.#pause(RETRY_LEAST_MS * (0.5 + Math.random()));
    }
  }

  #begin(session: Session): void {
    const { names, logger } = this.#host;
    this.#session = session;
    logger.info(
      { stream: names.stream, server: session.connection.getServer() },
      `pub/sub: connected to nats-server ${session.connection.info?.version}`,
    );
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
