// A user's project, in a folder of its own.

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

/** A new folder with these files, and a package.json; removed when the test ends. */
export function project(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'millrace-project-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const all = { 'package.json': '{ "type": "module", "private": true }\n', ...files };
  for (const [path, text] of Object.entries(all)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

/** Lets the project import packages of this repository, or what is installed in it. */
export function linkPackages(root: string, ...names: string[]): void {
  for (const name of names) {
    const target = fileURLToPath(new URL(`../../node_modules/${name}`, import.meta.url));
    const link = join(root, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(target, link, 'junction');
  }
}
