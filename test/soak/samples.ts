// What processes use while nothing is under way, and whether that stays the same.

import type { Ledger } from './ledger.js';
import type { ProcessUse } from './options.js';

const MIB = 1024 * 1024;

/** One moment of rest of one process. */
export interface Sample {
  readonly use: ProcessUse;
  /** The statistics of its engines. */
  readonly engines: readonly Readonly<Record<string, unknown>>[];
}

/**
 * How much more a process may use at the last rest than at the first after the warm-up. Nothing here may
 * grow with the number of calls; the room is for what the allocators keep and the compiler makes.
 */
export const BOUNDS: Readonly<Record<keyof ProcessUse, number>> = {
  heapUsed: 6 * MIB,
  external: 48 * MIB,
  arrayBuffers: 4 * MIB,
  resident: 48 * MIB,
  descriptors: 0,
};

/** What has to be zero at rest. */
const ZERO = [
  'activeCalls',
  'waitingMessages',
  'overflowBytes',
  'unsentBytes',
  'sendChunks',
  'ringHeld',
  'leakedRegions',
];

/** Samples of one process over time. */
export class Series {
  readonly name: string;
  readonly #ledger: Ledger;
  /** Descriptors are those beside connections. */
  readonly #uses: ProcessUse[] = [];

  constructor(name: string, ledger: Ledger) {
    this.name = name;
    this.#ledger = ledger;
  }

  add({ use, engines }: Sample): void {
    // Connections come and go, also at rest: from one server to another.
    const connections = engines.reduce((sum, engine) => sum + Number(engine['connections']), 0);
    this.#uses.push({ ...use, descriptors: use.descriptors - connections });
    for (const engine of engines) {
      for (const gauge of ZERO) {
        if (engine[gauge] !== 0) {
          this.#ledger.violation(`${this.name} has ${gauge} ${String(engine[gauge])} at rest`);
        }
      }
      const free = Number(engine['ringFree']);
      if (free !== Number(engine['ringBuffers'])) {
        this.#ledger.violation(
          `${this.name} has ${free} free buffers of ${String(engine['ringBuffers'])} at rest`,
        );
      }
    }
  }

  get line(): string {
    const use = this.#uses.at(-1)!;
    return (
      `${this.name}: heap ${mib(use.heapUsed)}, external ${mib(use.external)}, ` +
      `resident ${mib(use.resident)}, ${use.descriptors} descriptors`
    );
  }

  /** Compares the last rest with the first; returns a line for each figure. */
  compare(): string[] {
    const first = this.#uses[0]!;
    const last = this.#uses.at(-1)!;
    return (Object.keys(BOUNDS) as (keyof ProcessUse)[]).map((what) => {
      const grown = last[what] - first[what];
      const shown = (value: number) => (what === 'descriptors' ? String(value) : mib(value));
      const text = `${this.name}: ${what} from ${shown(first[what])} to ${shown(last[what])}`;
      if (grown > BOUNDS[what]) {
        this.#ledger.violation(
          `${text}, more than ${shown(BOUNDS[what])} over ${this.#uses.length} samples: ` +
            this.#uses.map((use) => shown(use[what])).join(', '),
        );
      }
      return text;
    });
  }
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}
