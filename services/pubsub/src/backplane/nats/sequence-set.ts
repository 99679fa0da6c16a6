/**
 * Sequences, kept as ranges: those that come in order with few gaps cost next to nothing. There are never
 * more than `rangesMost` ranges; beyond, the lowest are forgotten.
 */
export class SequenceSet {
  readonly #most: number;
  /** The first and the last of each range, ascending; ranges neither touch nor overlap. */
  readonly #first: number[] = [];
  readonly #last: number[] = [];

  constructor(rangesMost: number) {
    this.#most = rangesMost;
  }

  has(sequence: number): boolean {
    const index = this.#before(sequence);
    return index >= 0 && sequence <= this.#last[index]!;
  }

  /** Adds a range, both ends included. */
  add(first: number, last = first): void {
    // The ranges from `from` up to `to`, without it, touch the new one and become one with it.
    let from = this.#before(first);
    if (from < 0 || this.#last[from]! < first - 1) from++;
    let to = from;
    let low = first;
    let high = last;
    while (to < this.#first.length && this.#first[to]! <= last + 1) {
      low = Math.min(low, this.#first[to]!);
      high = Math.max(high, this.#last[to]!);
      to++;
    }
    if (to === from + 1) {
      this.#first[from] = low;
      this.#last[from] = high;
      return;
    }
    this.#first.splice(from, to - from, low);
    this.#last.splice(from, to - from, high);
    if (this.#first.length > this.#most) {
      const forgotten = this.#first.length - this.#most;
      this.#first.splice(0, forgotten);
      this.#last.splice(0, forgotten);
    }
  }

  /** The highest ranges, at most so many: first, last, first, last, … */
  ranges(most = this.#first.length): number[] {
    const flat: number[] = [];
    for (let index = Math.max(0, this.#first.length - most); index < this.#first.length; index++) {
      flat.push(this.#first[index]!, this.#last[index]!);
    }
    return flat;
  }

  clear(): void {
    this.#first.length = 0;
    this.#last.length = 0;
  }

  /** The last range that does not begin after a sequence, or -1. */
  #before(sequence: number): number {
    let low = 0;
    let high = this.#first.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#first[middle]! <= sequence) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
