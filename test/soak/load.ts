// Calls, many at a time, that can be brought to rest.

import { random } from '../support/random.js';
import { type Chosen, chooseCall, type Surroundings } from './calls.js';

/** Calls at the same time. */
const WORKERS = 24;
/** Within this every call has come to its end, whatever happened to it. */
const REST_MS = 45_000;
const SHOWN = 10;

export class Load {
  readonly #around: Surroundings;
  readonly #seed: number;
  readonly #underWay = new Set<Chosen>();
  #number = 0;
  #resting: Promise<void> = Promise.resolve();
  #goOn: (() => void) | undefined;
  #rested: (() => void) | undefined;
  #over = false;

  constructor(around: Surroundings, seed: number) {
    this.#around = around;
    this.#seed = seed;
  }

  start(): void {
    for (let worker = 0; worker < WORKERS; worker++) void this.#work(worker);
  }

  async #work(worker: number): Promise<void> {
    const choose = random(this.#seed + worker);
    while (!this.#over) {
      if (this.#goOn !== undefined) {
        await this.#resting;
        continue;
      }
      const call = chooseCall(this.#around, choose, `${worker}.${this.#number++}`);
      this.#underWay.add(call);
      await call.run();
      this.#underWay.delete(call);
      if (this.#underWay.size === 0) this.#rested?.();
    }
  }

  /** Begins no more calls; resolves when those under way have ended. @throws Error for one that does not */
  async rest(): Promise<void> {
    this.#resting = new Promise((resolve) => {
      this.#goOn = resolve;
    });
    if (this.#underWay.size === 0) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      this.#rested = resolve;
      timer = setTimeout(() => {
        const calls = [...this.#underWay].map(({ description }) => description);
        const shown = calls.slice(0, SHOWN).join('\n  ');
        reject(new Error(`${calls.length} calls have not ended in ${REST_MS} ms:\n  ${shown}`));
      }, REST_MS);
    });
    clearTimeout(timer);
    this.#rested = undefined;
  }

  goOn(): void {
    this.#goOn?.();
    this.#goOn = undefined;
  }

  stop(): void {
    this.#over = true;
    this.goOn();
  }
}
