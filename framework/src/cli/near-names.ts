/** The most that are worth showing. */
const NEAREST = 3;

/** Those of the names that somebody who wrote `word` may have meant, the likeliest first. */
export function nearNames(word: string, names: Iterable<string>): string[] {
  const wanted = word.toLowerCase();
  const near = [...new Set(names)]
    .map((name) => ({ name, steps: distance(wanted, name.toLowerCase()) }))
    .filter(({ name, steps }) => steps <= Math.max(2, 0.4 * Math.max(name.length, word.length)))
    .sort((a, b) => a.steps - b.steps);
  return near
    .filter(({ steps }) => steps <= (near[0]?.steps ?? 0) + 1)
    .slice(0, NEAREST)
    .map(({ name }) => name);
}

/** `Did you mean A or B?`, or nothing. */
export function didYouMean(names: readonly string[]): string | undefined {
  if (names.length === 0) return undefined;
  const last = names.at(-1);
  const others = names.slice(0, -1).join(', ');
  return `Did you mean ${others === '' ? last : `${others} or ${last}`}?`;
}

/** How many characters have to be put in, left out, replaced or swapped with their neighbour. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let least = Math.min(
        (previous[column] as number) + 1,
        (current[column - 1] as number) + 1,
        (previous[column - 1] as number) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        least = Math.min(least, (before[column - 2] as number) + 1);
      }
      current.push(least);
    }
    before = previous;
    previous = current;
  }
  return previous[b.length] as number;
}
