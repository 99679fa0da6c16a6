import { Backoff, type BackoffBounds } from './backoff.js';
import type { ConnectionEnd, ConnectionSink, ConnectionState } from './thread.js';

/** The states of gRPC's connectivity API, for a lane and for a whole channel. */
export type LaneState = 'idle' | 'connecting' | 'ready' | 'transient-failure';

/** What a lane needs of its channel. */
export interface LaneHost {
  readonly backoff: BackoffBounds;
  /** Begins to connect. @throws Error for an address that cannot be read */
  open(address: string, sink: ConnectionSink): number;
  /** No new calls; those under way go on. */
  shut(connection: number): void;
  /** State or connection of a lane have changed. */
  laneChanged(lane: Lane): void;
  /** A connection was lost or could not be made: addresses may have changed. */
  reresolve(): void;
  tooManyPings(): void;
  /** Where health is checked: watches, and reports by `healthy`; returns how to stop. */
  watchHealth?: ((lane: Lane) => () => void) | undefined;
}

/**
 * So many connections in a row may be as good as none before that counts as a failure: of a server
 * that is replaced while it listens, each thread may accept one more and send it away.
 */
const FUTILE_MAX = 4;

/** No connection: all references are others. */
const NONE = -1;

/**
 * At most one connection with calls, to the first of some addresses that answers: gRPC's pick_first.
 * A round robin is made of lanes with one address each.
 *
 * After all addresses have failed, the next pass waits for the backoff; until one succeeds the lane
 * stays in transient failure, so that calls that do not wait fail at once.
 *
 * A connection that is lost before it has answered a call, and sooner than the first backoff, was as
 * good as none. A few in a row are bad luck; more count as failures to connect, for a server that
 * goes away each time would have the lane connect as fast as it can.
 */
export class Lane implements ConnectionSink {
  readonly #host: LaneHost;
  readonly #eager: boolean;
  readonly #backoff: Backoff;
  #addresses: readonly string[];
  /** The address that is tried or connected. */
  #index = 0;
  #opened = NONE;
  /** What hears of that connection; earlier ones are not heard any more. */
  #sink: ConnectionSink | undefined;
  #passBegan = 0;
  #readySince = 0;
  /** Connections in a row that were as good as none. */
  #futile = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopHealth: (() => void) | undefined;
  #closed = false;
  state: LaneState = 'idle';
  /** The connection for new calls while the state is ready. */
  connection = NONE;
  /** Why the last attempt failed. */
  failure = '';

  /** @param eager connects without being asked, and again after a loss. */
  constructor(host: LaneHost, addresses: readonly string[], eager: boolean) {
    this.#host = host;
    this.#addresses = addresses;
    this.#eager = eager;
    this.#backoff = new Backoff(host.backoff);
  }

  get address(): string {
    return this.#addresses[this.#index] ?? '';
  }

  /** Connects if nothing is under way. */
  connect(): void {
    if (this.state !== 'idle' || this.#closed) return;
    this.#setState('connecting');
    this.#beginPass();
  }

  /** New addresses; a connection to one that is gone takes no more calls. */
  update(addresses: readonly string[]): void {
    const current = this.address;
    this.#addresses = addresses;
    const index = addresses.indexOf(current);
    if (index >= 0) {
      this.#index = index;
      return;
    }
    this.#index = 0;
    if (this.#opened === NONE) return;
    this.#drop();
    this.#again();
  }

  /** No more calls; connections close when theirs are over. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#drop();
    this.state = 'idle';
  }

  connectionState(state: ConnectionState, message: string, about: ConnectionEnd): void {
    if (about.tooManyPings) this.#host.tooManyPings();
    // It was left already, when it began to go away.
    if (this.#opened === NONE) return;
    if (state === 'ready') {
      this.#readySince = performance.now();
      if (this.#host.watchHealth === undefined) this.healthy(true, '');
      else {
        this.connection = this.#opened;
        this.#stopHealth = this.#host.watchHealth(this);
      }
      return;
    }
    this.failure = message;
    this.#stopWatching();
    this.#opened = NONE;
    this.connection = NONE;
    if (state === 'failed' || this.#isFutile(about)) {
      if (this.state === 'ready') this.#setState('connecting');
      this.#next();
      return;
    }
    this.#host.reresolve();
    this.#again();
  }

  /** Whether a connection that was ready counts as a failure to connect. */
  #isFutile({ answered }: ConnectionEnd): boolean {
    if (answered || performance.now() - this.#readySince >= this.#host.backoff.initialMs) {
      this.#futile = 0;
      this.#backoff.reset();
    } else this.#futile++;
    return this.#futile > FUTILE_MAX;
  }

  /** What the server says of its health; without a check it is well once connected. */
  healthy(well: boolean, why: string): void {
    if (this.#opened === NONE) return;
    this.connection = this.#opened;
    if (!well) this.failure = why;
    this.#setState(well ? 'ready' : 'transient-failure');
  }

  #setState(state: LaneState): void {
    this.state = state;
    this.#host.laneChanged(this);
  }

  #beginPass(): void {
    this.#index = 0;
    this.#passBegan = performance.now();
    this.#open();
  }

  #open(): void {
    for (; this.#index < this.#addresses.length; this.#index++) {
      try {
        this.#opened = this.#host.open(this.#addresses[this.#index]!, this.#sinkOf());
        return;
      } catch (error) {
        this.failure = error instanceof Error ? error.message : String(error);
      }
    }
    this.#passFailed();
  }

  /** Only the connection that was opened last speaks for the lane. */
  #sinkOf(): ConnectionSink {
    const sink: ConnectionSink = {
      connectionState: (state, message, about) => {
        if (this.#sink === sink) this.connectionState(state, message, about);
      },
    };
    this.#sink = sink;
    return sink;
  }
  #next(): void {
    this.#index++;
    this.#open();
  }

  #passFailed(): void {
    this.#index = 0;
    const delay = Math.max(0, this.#passBegan + this.#backoff.next() - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#beginPass();
    }, delay);
    this.#timer.unref();
    this.#host.reresolve();
    this.#setState('transient-failure');
  }

  /** After a loss: idle until somebody asks, or at once if eager. */
  #again(): void {
    if (this.#closed) return;
    this.#setState('idle');
    if (this.#eager) this.connect();
  }

  #drop(): void {
    this.#stopWatching();
    this.#sink = undefined;
    if (this.#opened !== NONE) this.#host.shut(this.#opened);
    this.#opened = NONE;
    this.connection = NONE;
  }

  #stopWatching(): void {
    const stop = this.#stopHealth;
    this.#stopHealth = undefined;
    stop?.();
  }
}
