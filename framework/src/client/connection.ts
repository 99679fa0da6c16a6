import { MillraceError } from '../errors.js';
import { Channel, type ChannelState } from './channel.js';
import {
  type CheckedConnectionOptions,
  type ConnectionOptions,
  checkConnectionOptions,
} from './options.js';
import { parseTarget } from './target.js';
import { ClientThread } from './thread.js';

/** The mark of a Connection, also of another copy of this package. */
const brand = Symbol.for('millrace.Connection');

const DRAIN_TIMEOUT_MS = 30_000;

/** Figures of a connection. */
export interface ConnectionStats {
  /** As {@link Connection.state}. */
  readonly state: ChannelState;
  /** HTTP/2 connections that are open or being opened. */
  readonly connections: number;
  /** Calls that have reached the engine and are not over. */
  readonly callsUnderWay: number;
  /** Calls that wait for a connection. */
  readonly callsWaiting: number;
  /** Bytes of requests kept to be sent again. */
  readonly bufferedBytes: number;
  /** Why the last attempt to connect failed; empty if none did. */
  readonly failure: string;
  /** What the engine of this thread counts, over all connections that share it. */
  readonly engine: Readonly<Record<string, unknown>>;
}

/** A logical connection to a target: as many HTTP/2 connections as its balancer wants, made anew when they are lost. Clients of several services may share it. */
export interface Connection extends AsyncDisposable {
  /** As it was given. */
  readonly target: string;
  /** What it can do for a call now; with several addresses, the best of them. */
  readonly state: ChannelState;
  /** What is open and waiting now, and what the engine has counted. */
  stats(): ConnectionStats;
  /** Connects now instead of with the first call. */
  connect(): void;
  /**
   * Takes no more calls, fails those that wait for a connection, and lets those under way end: after
   * `timeoutMs` (default 30 s) they are cut off with UNAVAILABLE. Again is the same.
   */
  close(timeoutMs?: number): Promise<void>;
}

/** A connection as the rest of this folder sees it. */
export class ClientConnection implements Connection {
  readonly channel: Channel;
  readonly options: CheckedConnectionOptions;

  constructor(target: string, given: ConnectionOptions) {
    this.options = checkConnectionOptions(given);
    const parsed = parseTarget(target);
    this.channel = new Channel(ClientThread.take(this.options.engine), parsed, this.options);
    Object.defineProperty(this, brand, { value: true });
  }

  get target(): string {
    return this.channel.target;
  }

  get state(): ChannelState {
    return this.channel.state;
  }

  stats(): ConnectionStats {
    const { channel } = this;
    return {
      state: channel.state,
      connections: channel.openConnections,
      callsUnderWay: channel.callsUnderWay,
      callsWaiting: channel.waitingCalls,
      bufferedBytes: channel.bufferedBytes,
      failure: channel.failure,
      engine: channel.thread.engine?.stats() ?? {},
    };
  }

  connect(): void {
    this.channel.checkOpen();
    this.channel.connect();
  }

  close(timeoutMs = DRAIN_TIMEOUT_MS): Promise<void> {
    return this.channel.close(timeoutMs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * A connection to a target, made with the first call.
 *
 * @throws MillraceError MILLRACE_TARGET_INVALID, MILLRACE_OPTION_INVALID,
 * MILLRACE_SERVICE_CONFIG_INVALID, MILLRACE_LIMITS_CONFLICT, MILLRACE_INTERCEPTOR_INVALID
 */
export function connection(target: string, options: ConnectionOptions = {}): Connection {
  return new ClientConnection(target, options);
}

/** @throws MillraceError MILLRACE_OPTION_INVALID for what `connection` has not made */
export function asClientConnection(given: unknown): ClientConnection {
  if (typeof given === 'object' && given !== null && brand in given) {
    return given as unknown as ClientConnection;
  }
  throw new MillraceError(
    'MILLRACE_OPTION_INVALID',
    'connect() takes a target or what connection() returned',
  );
}
