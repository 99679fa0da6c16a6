import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { write } from './write.js';

function folder(): string {
  const root = mkdtempSync(join(tmpdir(), 'millrace-write-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  return root;
}

const tree = (root: string) => readdirSync(root, { recursive: true, encoding: 'utf8' }).sort();

test('files are put where they belong, and nothing else is left', () => {
  const root = folder();
  write([{ path: 'a/b.ts', text: 'b' }], join(root, 'src/gen'));
  write([{ path: 'a/b.ts', text: 'new' }], join(root, 'src/gen'));
  expect(tree(root)).toEqual(['src', 'src/gen', 'src/gen/a', 'src/gen/a/b.ts']);
  expect(readFileSync(join(root, 'src/gen/a/b.ts'), 'utf8')).toBe('new');
});

test('when one cannot be written, all are as they were', () => {
  const root = folder();
  const out = join(root, 'gen');
  mkdirSync(join(out, 'taken.ts'), { recursive: true });
  writeFileSync(join(out, 'a.ts'), 'old');
  const before = tree(root);
  const files = ['a.ts', 'new/deep/b.ts', 'c.ts', 'taken.ts'].map((path) => ({ path, text: 'x' }));
  expect(() => write(files, out)).toThrow();
  expect(tree(root)).toEqual(before);
  expect(readFileSync(join(out, 'a.ts'), 'utf8')).toBe('old');
});
