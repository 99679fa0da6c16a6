// Flags as the interop programs of other languages take them: `--use_tls`, `--use_tls=true`, `--use_tls true`.

/** The words, with `true` as the value of each of `names` that has none. */
export function withValues(words: readonly string[], names: readonly string[]): string[] {
  return words.map((word, index) => {
    const next = words[index + 1];
    const isBare = names.some((name) => word === `--${name}`);
    return isBare && (next === undefined || next.startsWith('--')) ? `${word}=true` : word;
  });
}

/** What `--name=value` says; other words than `true` and `false` are an error. */
export function isOn(name: string, value: string): boolean {
  if (value !== 'true' && value !== 'false') {
    throw new Error(`--${name} is true or false, not "${value}"`);
  }
  return value === 'true';
}
