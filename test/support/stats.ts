// `server.stats()`, as far as tests look at it.

export interface ThreadStats {
  readonly driver: string;
  readonly http2: Record<string, number>;
  readonly [name: string]: unknown;
}

export interface Stats {
  readonly threads: readonly ThreadStats[];
  readonly [name: string]: unknown;
}

/** What is open or held at this moment, and must come back to where it started. */
const GAUGES = [
  'connections',
  'activeCalls',
  'waitingMessages',
  'bufferedBytes',
  'overflowBytes',
  'extraWindowBytes',
  'unsentBytes',
  'sendChunks',
  'ringHeld',
] as const;

export type Gauge = (typeof GAUGES)[number];

/** One number of all threads together. */
export function total(stats: Stats, name: string): number {
  return stats.threads.reduce((sum, thread) => {
    const value = thread[name];
    if (typeof value !== 'number') throw new Error(`stats() has no number "${name}"`);
    return sum + value;
  }, 0);
}

/** One number of the HTTP/2 counters of all threads together. */
export function http2Total(stats: Stats, name: string): number {
  return stats.threads.reduce((sum, thread) => {
    const value = thread.http2[name];
    if (value === undefined) throw new Error(`stats() has no HTTP/2 counter "${name}"`);
    return sum + value;
  }, 0);
}

export function gauges(stats: Stats): Record<Gauge, number> {
  return Object.fromEntries(GAUGES.map((name) => [name, total(stats, name)])) as Record<
    Gauge,
    number
  >;
}
