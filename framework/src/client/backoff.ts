const INITIAL_MS = 1000;
const MULTIPLIER = 1.6;
const MOST_MS = 120_000;
const JITTER = 0.2;

/** The bounds of the time between attempts to connect, in milliseconds. */
export interface BackoffBounds {
  readonly initialMs: number;
  readonly mostMs: number;
}

export const backoffDefaults: BackoffBounds = { initialMs: INITIAL_MS, mostMs: MOST_MS };

/**
 * The time between attempts to connect: 1 s, growing by 1.6 to 120 s, each ±20 %.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md
 */
export class Backoff {
  readonly #bounds: BackoffBounds;
  readonly #random: () => number;
  #nextMs: number;

  constructor(bounds: BackoffBounds = backoffDefaults, random: () => number = Math.random) {
    this.#bounds = bounds;
    this.#random = random;
    this.#nextMs = bounds.initialMs;
  }

  /** Milliseconds from the begin of the failed attempt to the next one. */
  next(): number {
    const delay = this.#nextMs * (1 + JITTER * (2 * this.#random() - 1));
    this.#nextMs = Math.min(this.#nextMs * MULTIPLIER, this.#bounds.mostMs);
    return delay;
  }

  /** The server has sent its SETTINGS: the next failure begins anew. */
  reset(): void {
    this.#nextMs = this.#bounds.initialMs;
  }
}
