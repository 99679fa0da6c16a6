import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { GeneratedFile } from './generate.js';

/**
 * Puts the files into the folder: all of them, or, when that fails, none. They are written elsewhere
 * first and then renamed, so that nobody ever reads half of one.
 *
 * @param beside where they are written first, in a folder of their own: on the same file system
 */
export function write(
  files: readonly GeneratedFile[],
  out: string,
  beside = dirname(resolve(out)),
): void {
  if (files.length === 0) return;
  const folder = resolve(out);
  mkdirSync(beside, { recursive: true });
  const staging = mkdtempSync(join(beside, `.${basename(folder)}-`));
  const undo: (() => void)[] = [];
  try {
    for (const [index, { text }] of files.entries()) writeFileSync(join(staging, `${index}`), text);
    for (const [index, { path }] of files.entries()) {
      const target = resolve(folder, path);
      const previous = join(staging, `${index}.previous`);
      const made = mkdirSync(dirname(target), { recursive: true });
      if (made !== undefined) undo.push(() => rmSync(made, { recursive: true }));
      if (existsSync(target)) {
        copyFileSync(target, previous);
        undo.push(() => renameSync(previous, target));
      } else {
        undo.push(() => rmSync(target, { force: true }));
      }
      renameSync(join(staging, `${index}`), target);
    }
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}
