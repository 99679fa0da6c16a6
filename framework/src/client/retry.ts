import type { RetryPolicy, RetryThrottling } from './service-config.js';

/**
 * Retries of a channel stop while too many calls fail: each failure takes a token, each success
 * gives a part of one back, and with half of them or fewer left nothing is retried or hedged.
 *
 * Source: gRFC A6, "Throttling Retry Attempts and Hedged RPCs"
 */
export class RetryThrottle {
  readonly #most: number;
  readonly #ratio: number;
  #tokens: number;

  constructor({ maxTokens, tokenRatio }: RetryThrottling) {
    this.#most = maxTokens;
    this.#ratio = tokenRatio;
    this.#tokens = maxTokens;
  }

  get allows(): boolean {
    return this.#tokens > this.#most / 2;
  }

  failed(): void {
    this.#tokens = Math.max(0, this.#tokens - 1);
  }

  succeeded(): void {
    this.#tokens = Math.min(this.#most, this.#tokens + this.#ratio);
  }
}

const JITTER = 0.2;

/** The retries of one call. */
export class Retries {
  readonly #policy: RetryPolicy;
  #made = 0;
  /** Retries since the last pushback, which begins the backoff anew. */
  #inRow = 0;

  constructor(policy: RetryPolicy) {
    this.#policy = policy;
  }

  /** Attempts that came before the one under way: `grpc-previous-rpc-attempts`. */
  get made(): number {
    return this.#made;
  }

  /**
   * Milliseconds to wait before the next attempt; `undefined`: the status stays.
   *
   * @param pushback the server's `grpc-retry-pushback-ms`
   */
  next(
    code: number,
    pushback: string | undefined,
    throttle: RetryThrottle | undefined,
    random: () => number = Math.random,
  ): number | undefined {
    const policy = this.#policy;
    const retryable = (policy.retryableStatusCodes & (1 << code)) !== 0;
    const asked = pushbackMs(pushback);
    if (retryable || asked === 'never') throttle?.failed();
    if (!retryable || asked === 'never') return undefined;
    if (this.#made + 1 >= policy.maxAttempts) return undefined;
    if (throttle !== undefined && !throttle.allows) return undefined;
    this.#made++;
    if (asked !== undefined) {
      this.#inRow = 0;
      return asked;
    }
    const delay = Math.min(
      policy.initialBackoff * policy.backoffMultiplier ** this.#inRow,
      policy.maxBackoff,
    );
    this.#inRow++;
    return delay * (1 + JITTER * (2 * random() - 1));
  }
}

/** What the server says about trying again: after so many milliseconds, never, or nothing. */
export function pushbackMs(value: string | undefined): number | 'never' | undefined {
  if (value === undefined) return undefined;
  return /^\d{1,10}$/.test(value) && Number(value) <= 0x7fffffff ? Number(value) : 'never';
}
