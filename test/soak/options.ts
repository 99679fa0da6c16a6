// What the soak is told, and what its processes are told by it.

import { parseArgs } from 'node:util';

const drivers = ['bundle', 'ring', 'classic', 'portable'];

export interface SoakOptions {
  readonly seconds: number;
  /** As of MILLRACE_DRIVER; undefined: the best that runs here. */
  readonly driver: string | undefined;
  readonly tls: boolean;
  readonly seed: number;
}

/** @throws Error that says what is wrong */
export function readOptions(words: readonly string[]): SoakOptions {
  const { values } = parseArgs({
    args: [...words],
    options: {
      minutes: { type: 'string', default: '10' },
      driver: { type: 'string' },
      tls: { type: 'boolean', default: false },
      seed: { type: 'string' },
    },
  });
  const minutes = Number(values.minutes);
  if (!(minutes >= 0.2 && minutes <= 24 * 60)) {
    throw new Error(`--minutes is ${values.minutes}, but has to be a number from 0.2 to 1440`);
  }
  const { driver } = values;
  if (driver !== undefined && !drivers.includes(driver)) {
    throw new Error(`--driver is ${driver}, but has to be one of ${drivers.join(', ')}`);
  }
  const seed =
    values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
  if (!Number.isInteger(seed))
    throw new Error(`--seed is ${values.seed}, but has to be a whole number`);
  return { seconds: minutes * 60, driver, tls: values.tls, seed };
}

/** Given to a server as JSON in MILLRACE_SOAK. */
export interface ServerSettings {
  readonly seed: number;
  readonly port: number;
  readonly limits: Record<string, number>;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
}

/** What a server of the soak has counted, beside its statistics. */
export interface ServerCounters {
  started: number;
  ended: number;
  /** Requests that were not what their client had sent, and the like: must stay 0. */
  wrong: number;
}

/** What one process uses, after its garbage was collected. */
export interface ProcessUse {
  readonly heapUsed: number;
  readonly external: number;
  readonly arrayBuffers: number;
  readonly resident: number;
  readonly descriptors: number;
}

export interface ServerSample {
  readonly use: ProcessUse;
  readonly counters: ServerCounters;
  /** Its engine's, by name. */
  readonly stats: Readonly<Record<string, unknown>>;
}
