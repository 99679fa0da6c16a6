import type { Logger } from 'pino';
import { MillraceError } from '../errors.js';
import type { BackoffBounds } from './backoff.js';
import { Balancer } from './balancer.js';
import { watchHealth } from './health-check.js';
import type { Lane, LaneHost, LaneState } from './lane.js';
import type { ClientMethod } from './method.js';
import type { CheckedConnectionOptions } from './options.js';
import { Resolver } from './resolver.js';
import { RetryThrottle } from './retry.js';
import type { CheckedServiceConfig } from './service-config.js';
import type { Target } from './target.js';
import type { ClientThread, ConnectionSink } from './thread.js';

/** A call, or an attempt of one, that waits for a connection. */
export interface Launchable {
  readonly waitForReady: boolean;
  /** It has ended while it waited. */
  readonly over: boolean;
  /** There is a connection. */
  launch(connection: number): void;
  /** There is none, and none is to be expected soon. */
  unavailable(message: string): void;
  /** It has to wait. */
  waiting(): void;
}

/** The state of a connection, by the names of gRPC's connectivity API. */
export type ChannelState = LaneState | 'shutdown';

/** Timers of Node go no further. */
const LONGEST_TIMER_MS = 0x7fffffff;
/** What a stream keeps to be sent again if the server has refused it, where no policy asks for more. */
const TRANSPARENT_BUFFER_BYTES = 16 * 1024;

/** Connections to one target, and the calls that wait for them. */
export class Channel implements LaneHost {
  readonly thread: ClientThread;
  readonly target: string;
  readonly config: CheckedServiceConfig | undefined;
  readonly throttle: RetryThrottle | undefined;
  readonly backoff: BackoffBounds;
  readonly sendMessageBytes: number;
  /** Unsent bytes from which a stream without a connection has to wait. */
  readonly unsentBytesMark: number;
  readonly watchHealth: ((lane: Lane) => () => void) | undefined;
  /** Bytes of requests that are kept to be sent again. */
  bufferedBytes = 0;
  /** Attempts that the engine knows of. */
  callsUnderWay = 0;
  readonly #options: CheckedConnectionOptions;
  readonly #authority: string;
  readonly #resolver: Resolver;
  readonly #balancer: Balancer;
  #waiting: Launchable[] = [];
  /** Of those, about how many are over by now. */
  #waitingOver = 0;
  /** Keeps the process alive while calls wait. */
  #holding: NodeJS.Timeout | undefined;
  #started = false;
  #resolving = false;
  /** There are addresses, from this look-up or an earlier one. */
  #resolved = false;
  /** Why there are no addresses. */
  #resolveFailure = '';
  #resolveTimer: NodeJS.Timeout | undefined;
  #resolveDelayMs: number;
  #keepaliveTimeMs: number;
  readonly #open = new Set<number>();
  #closing: Promise<void> | undefined;
  #quiet: (() => void) | undefined;
  #closed = false;

  constructor(thread: ClientThread, target: Target, options: CheckedConnectionOptions) {
    this.thread = thread;
    this.target = target.text;
    this.#options = options;
    this.#authority = options.authority ?? target.authority;
    this.config = options.serviceConfig;
    this.backoff = options.backoff;
    this.sendMessageBytes = options.engine.sendMessageBytes;
    this.unsentBytesMark = options.unsentBytesMark;
    this.throttle =
      this.config?.throttling === undefined ? undefined : new RetryThrottle(this.config.throttling);
    this.#keepaliveTimeMs = options.keepalive.timeMs;
    this.#resolveDelayMs = options.backoff.initialMs;
    this.#resolver = new Resolver(target, options.lookup);
    const balancer = options.loadBalancing ?? this.config?.balancer ?? 'pick_first';
    const service = this.config?.healthCheckService;
    // gRFC A17: health is checked for round_robin only.
    this.watchHealth =
      service !== undefined && balancer === 'round_robin'
        ? (lane) => watchHealth(this, lane, service)
        : undefined;
    this.#balancer = new Balancer(this, balancer, options.connections);
  }

  get state(): ChannelState {
    if (this.#closed) return 'shutdown';
    if (this.#resolveFailure !== '') return 'transient-failure';
    if (this.#resolving && this.#balancer.state === 'idle') return 'connecting';
    return this.#balancer.state;
  }

  get logger(): Logger {
    return this.#options.logger;
  }

  /** Why there is no connection; empty when nothing has failed. */
  get failure(): string {
    return this.#resolveFailure === '' ? this.#balancer.failure : this.#resolveFailure;
  }

  /** What calls without a connection wait for. */
  get awaited(): string {
    return this.#resolving && this.#balancer.state !== 'ready'
      ? 'its target to be resolved'
      : 'a connection';
  }

  get waitingCalls(): number {
    return this.#waiting.filter((call) => !call.over).length;
  }

  get openConnections(): number {
    return this.#open.size;
  }

  // --- calls ---

  submit(call: Launchable): void {
    const lane = this.#balancer.pick();
    if (lane !== undefined) call.launch(lane.connection);
    else this.#wait(call);
  }

  #wait(call: Launchable): void {
    if (call.over) return;
    if (this.#closed) {
      call.unavailable('the connection is closed');
      return;
    }
    if (this.state === 'transient-failure' && !call.waitForReady) {
      call.unavailable(this.failure);
      return;
    }
    this.#waiting.push(call);
    call.waiting();
    this.#holding ??= setTimeout(() => {}, LONGEST_TIMER_MS);
    this.connect();
  }

  /** Looks up the addresses and connects, if nothing is under way. */
  connect(): void {
    if (this.#closed) return;
    if (!this.#started) {
      this.#started = true;
      void this.#start();
    } else this.#balancer.connect();
  }

  async #start(): Promise<void> {
    this.#resolving = true;
    try {
      await this.thread.start();
    } catch (error) {
      this.#started = false;
      this.#resolving = false;
      this.#failWaiting(error instanceof Error ? error.message : String(error), true);
      return;
    }
    await this.#resolve();
  }

  async #resolve(): Promise<void> {
    this.#resolving = true;
    try {
      const addresses = await this.#resolver.resolve();
      if (this.#closed) return;
      this.#resolving = false;
      this.#resolved = true;
      this.#resolveFailure = '';
      this.#resolveDelayMs = this.backoff.initialMs;
      this.#balancer.update(addresses);
      if (this.#waiting.length > 0 || this.#balancer.state === 'idle') this.#balancer.connect();
    } catch (error) {
      if (this.#closed) return;
      this.#resolving = false;
      this.#resolveLater();
      // Old addresses are better than none.
      if (this.#resolved) return;
      this.#resolveFailure = error instanceof Error ? error.message : String(error);
      this.#failWaiting(this.#resolveFailure, false);
    }
  }

  #resolveLater(): void {
    clearTimeout(this.#resolveTimer);
    this.#resolveTimer = setTimeout(() => void this.#resolve(), this.#resolveDelayMs);
    this.#resolveTimer.unref();
    this.#resolveDelayMs = Math.min(1.6 * this.#resolveDelayMs, this.backoff.mostMs);
  }

  /** Calls that do not wait fail; `all`: every call. */
  #failWaiting(message: string, all: boolean): void {
    const calls = this.#waiting;
    this.#waiting = [];
    for (const call of calls) {
      if (call.over) continue;
      if (all || !call.waitForReady) call.unavailable(message);
      else this.#waiting.push(call);
    }
    this.#hold();
  }

  #flush(): void {
    const calls = this.#waiting;
    if (calls.length === 0) return;
    this.#waiting = [];
    this.#hold();
    for (const call of calls) if (!call.over) this.submit(call);
  }

  /** A call that may wait here is over: those that wait for long must not pile up. */
  gaveUp(): void {
    if (this.#waiting.length === 0 || ++this.#waitingOver * 2 < this.#waiting.length) return;
    this.#waiting = this.#waiting.filter((call) => !call.over);
    this.#hold();
  }

  #hold(): void {
    this.#waitingOver = 0;
    if (this.#waiting.length === 0) {
      clearTimeout(this.#holding);
      this.#holding = undefined;
    } else this.#holding ??= setTimeout(() => {}, LONGEST_TIMER_MS);
  }

  /** An attempt has left the engine's table. */
  callOver(): void {
    this.callsUnderWay--;
    if (this.#closing !== undefined) this.#lookQuiet();
  }

  /** What a streaming call may keep to send it again. */
  requestBufferBytes(method: ClientMethod): number {
    const { config } = method;
    return config?.retryPolicy === undefined && config?.hedgingPolicy === undefined
      ? TRANSPARENT_BUFFER_BYTES
      : this.#options.retryBuffer.callBytes;
  }

  get bufferIsFull(): boolean {
    return this.bufferedBytes > this.#options.retryBuffer.connectionBytes;
  }

  // --- lanes ---

  open(address: string, sink: ConnectionSink): number {
    const { keepalive, connectTimeoutMs, userAgent, tls } = this.#options;
    const connection: number = this.thread.open(
      {
        address,
        authority: this.#authority,
        userAgent,
        keepaliveTimeMs: this.#keepaliveTimeMs,
        keepaliveTimeoutMs: keepalive.timeoutMs,
        keepaliveWithoutCalls: keepalive.withoutCalls,
        connectTimeoutMs,
        tls,
      },
      {
        connectionState: (state, message, about) => {
          if (state === 'failed' || state === 'closed') {
            this.#open.delete(connection);
            if (this.#closing !== undefined) this.#lookQuiet();
          }
          this.logger.debug({ target: this.target, address, state }, message);
          sink.connectionState(state, message, about);
        },
      },
    );
    this.#open.add(connection);
    return connection;
  }

  shut(connection: number): void {
    this.thread.engine.shut(connection);
  }

  laneChanged(): void {
    if (this.#closed) return;
    this.#balancer.changed();
    const { state } = this.#balancer;
    if (state === 'ready') {
      // By then it is told what else has become of the connection: it may be gone already.
      queueMicrotask(() => this.#flush());
    } else if (state === 'transient-failure') this.#failWaiting(this.failure, false);
    else if (state === 'idle' && this.#waiting.length > 0) {
      // Not from within the change of a lane.
      queueMicrotask(() => this.#balancer.connect());
    }
  }

  reresolve(): void {
    if (this.#closed || this.#resolving || !this.#resolver.isDue) return;
    void this.#resolve();
  }

  /** gRFC A8: a server that complains gets half as many. */
  tooManyPings(): void {
    if (this.#keepaliveTimeMs === 0) return;
    this.#keepaliveTimeMs = Math.min(2 * this.#keepaliveTimeMs, LONGEST_TIMER_MS);
    this.logger.warn(
      { target: this.target, keepaliveTimeMs: this.#keepaliveTimeMs },
      'the server says that keepalive pings come too often; their interval is doubled',
    );
  }

  // --- the end ---

  /**
   * Takes no more calls, fails those that wait, lets those under way end for so long, and cuts off
   * the rest. Again is the same.
   */
  close(timeoutMs: number): Promise<void> {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async #close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#resolveTimer);
    this.#failWaiting('the connection was closed', true);
    this.#balancer.close();
    if (this.#started) {
      // The engine may just be starting; its failure has been told.
      await this.thread.start().catch(() => {});
      let timer: NodeJS.Timeout | undefined;
      const quiet = new Promise<void>((resolve) => {
        this.#quiet = resolve;
        timer = setTimeout(
          () => {
            for (const connection of this.#open) this.thread.engine.abort(connection);
            timer = setTimeout(resolve, ABORT_MS);
          },
          Math.min(timeoutMs, LONGEST_TIMER_MS),
        );
      });
      this.#lookQuiet();
      await quiet;
      clearTimeout(timer);
    }
    this.thread.leave();
  }

  #lookQuiet(): void {
    if (this.callsUnderWay === 0 && this.#open.size === 0) this.#quiet?.();
  }

  /** @throws MillraceError MILLRACE_CONNECTION_CLOSED */
  checkOpen(): void {
    if (this.#closed) throw new MillraceError('MILLRACE_CONNECTION_CLOSED');
  }
}

/** What an aborted connection may take to say so. */
const ABORT_MS = 1000;
