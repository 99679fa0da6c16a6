/** Whole numbers from one up to another, which is not among them. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

/** As texts, from the first to the last, which is among them. */
export function numbers(first: number, last: number): string[] {
  return range(first, last + 1).map(String);
}
