/** The slots of messages that have arrived and were not pulled: a ring that grows, first in first out. */
export class SlotQueue {
  #slots: number[] = new Array(8).fill(0);
  #mask = 7;
  #head = 0;
  size = 0;

  push(slot: number): void {
    if (this.size > this.#mask) this.#grow();
    this.#slots[(this.#head + this.size) & this.#mask] = slot;
    this.size++;
  }

  /** Precondition: `size > 0`. */
  shift(): number {
    const head = this.#head;
    this.#head = (head + 1) & this.#mask;
    this.size--;
    return this.#slots[head]!;
  }

  clear(): void {
    this.size = 0;
  }

  #grow(): void {
    const { size } = this;
    const grown = new Array<number>(2 * size).fill(0);
    for (let index = 0; index < size; index++) {
      grown[index] = this.#slots[(this.#head + index) & this.#mask]!;
    }
    this.#slots = grown;
    this.#mask = 2 * size - 1;
    this.#head = 0;
  }
}
