import { residentBytes } from '../../support/probes.js';

const MIB = 1024 * 1024;
const EVERY_MS = 500;
/** Of the whole time: until then memory may grow to its level. */
const WARM_UP = 0.3;
/** What it may grow after that: what the collector and the allocators take their time with. */
const GROWTH_MAX = 32 * MIB;

/** Resident memory of the server, from now on. */
export class Memory {
  readonly #samples: number[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(pid: number) {
    const sample = () => this.#samples.push(residentBytes(pid));
    sample();
    this.#timer = setInterval(sample, EVERY_MS);
  }

  /** What there was, for the table, and whether it was bounded. */
  end(): { readonly text: string; readonly bounded: boolean } {
    clearInterval(this.#timer);
    const warm = this.#samples.slice(Math.floor(this.#samples.length * WARM_UP));
    const [first, most] = [this.#samples[0]!, Math.max(...this.#samples)];
    const level = Math.max(...this.#samples.slice(0, -warm.length), warm[0]!);
    const text = [first, most, warm.at(-1)!].map((bytes) => (bytes / MIB).toFixed(0)).join(' · ');
    return { text: `${text} MiB`, bounded: Math.max(...warm) - level <= GROWTH_MAX };
  }
}
