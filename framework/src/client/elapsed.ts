/** Where the time of a call with a deadline went on this side, for its DEADLINE_EXCEEDED. */
export class Elapsed {
  readonly #startedAt = performance.now();
  #launchedAt = 0;
  #launches = 0;
  /** How the attempt before ended. */
  lastFailure = '';

  /** An attempt has a connection. */
  launched(): void {
    this.#launchedAt = performance.now();
    this.#launches++;
  }

  /** What came before the attempt under way, as the end of a sentence about that. */
  before(): string {
    const ms = this.#launchedAt - this.#startedAt;
    if (this.#launches > 1) {
      return `; ${shown(ms)} before that in ${attempts(this.#launches - 1)}${this.#failure()}`;
    }
    return ms < 1 ? '' : `; ${shown(ms)} before that waiting for a connection`;
  }

  /** @param what the call waits for, before it has a connection */
  waiting(what: string, cause: string): string {
    const ms = performance.now() - (this.#launches === 0 ? this.#startedAt : this.#launchedAt);
    const after =
      this.#launches === 0 ? '' : `, after ${attempts(this.#launches)}${this.#failure()}`;
    return (
      `the deadline passed while the call waited for ${what}` +
      `${cause === '' ? '' : ` (${cause})`}, for ${shown(ms)}${after}`
    );
  }

  #failure(): string {
    return this.lastFailure === '' ? '' : `, the last of which ended with ${this.lastFailure}`;
  }
}

function attempts(count: number): string {
  return count === 1 ? '1 attempt' : `${count} attempts`;
}

function shown(ms: number): string {
  return `${Math.max(0, Math.round(ms))} ms`;
}
