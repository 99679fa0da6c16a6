/** Latencies kept for the percentiles; a longer run keeps a random sample of this size. */
const SAMPLE = 10_000;

/** Counts the messages of a call and times them. All times are milliseconds. */
export class CallStats {
  readonly #start = performance.now();
  #sent = 0;
  #received = 0;
  #first: number | undefined;
  #last: number;
  #gaps: number[] = [];

  constructor() {
    this.#last = this.#start;
  }

  sent(): void {
    this.#sent++;
  }

  received(): void {
    const now = performance.now();
    this.#first ??= now - this.#start;
    // The first has waited for the connection and the headers: it is named apart.
    if (this.#received > 0) this.#sample(now - this.#last);
    this.#received++;
    this.#last = now;
  }

  /** One line about how far it is. */
  progress(): string {
    return `${this.#sent} sent, ${this.#received} received, ${this.#rate(this.#received)} received/s`;
  }

  /** What is to be said at the end. */
  summary(): string {
    const elapsed = performance.now() - this.#start;
    const lines = [
      `sent      ${this.#sent} (${this.#rate(this.#sent)}/s)`,
      `received  ${this.#received} (${this.#rate(this.#received)}/s)`,
      `time      ${shown(elapsed)} in all${this.#first === undefined ? '' : `, ${shown(this.#first)} to the first response`}`,
    ];
    const gaps = this.#gaps.toSorted((a, b) => a - b);
    if (gaps.length > 0) {
      const at = (part: number) => shown(gaps[Math.floor(part * (gaps.length - 1))] as number);
      lines.push(`between   ${at(0.5)} median, ${at(0.99)} 99th percentile, ${at(1)} longest`);
    }
    return lines.join('\n');
  }

  #sample(gap: number): void {
    if (this.#gaps.length < SAMPLE) this.#gaps.push(gap);
    else {
      const index = Math.floor(Math.random() * this.#received);
      if (index < SAMPLE) this.#gaps[index] = gap;
    }
  }

  #rate(count: number): number {
    return Math.round((1000 * count) / Math.max(performance.now() - this.#start, 1));
  }
}

function shown(milliseconds: number): string {
  return milliseconds < 1000
    ? `${milliseconds.toFixed(2)} ms`
    : `${(milliseconds / 1000).toFixed(2)} s`;
}
