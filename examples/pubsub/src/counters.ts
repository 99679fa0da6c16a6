// Counters that move: one line in place on a terminal, a line a second elsewhere.

const { stdout } = process;

/** Shows `line` until `stop`, which shows it a last time. */
export function showCounters(line: () => string): { stop(): void } {
  const show = () => stdout.write(stdout.isTTY ? `\r\x1b[2K${line()}` : `${line()}\n`);
  const timer = setInterval(show, stdout.isTTY ? 100 : 1000);
  return {
    stop() {
      clearInterval(timer);
      show();
      if (stdout.isTTY) stdout.write('\n');
    },
  };
}

/** How often a second something has happened since the last time that it was asked. */
export class Rate {
  #count = 0;
  #since = performance.now();
  #rate: number | undefined;

  /** @param count so far */
  of(count: number): string {
    const seconds = (performance.now() - this.#since) / 1000;
    if (seconds >= 0.5) {
      this.#rate = (count - this.#count) / seconds;
      this.#count = count;
      this.#since = performance.now();
    }
    // Of what is over sooner: how often on average.
    return `${number(Math.round(this.#rate ?? count / seconds))}/s`;
  }
}

export function number(value: number): string {
  return value.toLocaleString('en');
}
