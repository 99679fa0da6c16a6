import type { DispatchStats } from './dispatch.js';

/**
 * What one thread has counted: gauges and counters of its engine by name (`ringFree`, `activeCalls`,
 * `enobufs`, …), those of its handlers, and the HTTP/2 layer's below `http2`.
 */
export interface ThreadStats extends DispatchStats {
  /** The driver that runs. */
  readonly driver: string;
  /** What the HTTP/2 layer has counted, floods and ends of connections among it. */
  readonly http2: Readonly<Record<string, number>>;
  readonly [name: string]: number | string | Readonly<Record<string, number>>;
}

/** What a server has counted. */
export interface ServerStats {
  /** Of each thread. */
  readonly threads: readonly ThreadStats[];
  /**
   * The numbers of all threads together: sums, but for the lowest and highest values, which are
   * those of the thread that came nearest to its bound.
   */
  readonly total: Readonly<Record<string, number>>;
}

export function serverStats(threads: readonly ThreadStats[]): ServerStats {
  const total: Record<string, number> = {};
  for (const thread of threads) {
    for (const [name, value] of Object.entries(thread)) {
      if (typeof value !== 'number') continue;
      const before = total[name];
      if (before === undefined) total[name] = value;
      else if (/lowest/i.test(name)) total[name] = Math.min(before, value);
      else if (/highest|largest/i.test(name)) total[name] = Math.max(before, value);
      else total[name] = before + value;
    }
  }
  return { threads, total };
}
