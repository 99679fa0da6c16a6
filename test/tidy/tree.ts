// The files of the repository, as these tests look at them.

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Built, installed or downloaded: not ours to keep tidy. */
const FOREIGN = new Set([
  'node_modules',
  'target',
  'dist',
  '.git',
  'coverage',
  'corpus',
  'artifacts',
]);

/** Paths from the root, with `/`, sorted. */
export function files(pattern: RegExp, folder = ''): string[] {
  return walk(join(root, folder))
    .map((file) => relative(root, file).split(sep).join('/'))
    .filter((file) => pattern.test(file));
}

export function text(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (!entry.isDirectory()) return entry.isFile() ? [path] : [];
      return FOREIGN.has(entry.name) ? [] : walk(path);
    });
}
