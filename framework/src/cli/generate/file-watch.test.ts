import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { FileWatch } from './file-watch.js';

interface Watched {
  readonly folder: string;
  /** How often it was said that something has changed. */
  readonly changes: () => number;
  /** Makes a change; resolves once it was told, and what was read when it was told is what there is. */
  readonly seen: (change: () => void) => Promise<void>;
}

/** Watches `.proto` files in a new folder, or what is named there, and reads all whenever it is told of a change. */
function watched(
  before: Readonly<Record<string, string>> = {},
  below: readonly string[] = ['.'],
): Watched {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-file-watch-')));
  for (const [path, text] of Object.entries(before)) put(join(folder, path), text);
  const read = () => textsBelow(folder).sort().join('\n');
  let [last, changes] = ['', 0];
  let proceed = () => {};
  const files = new FileWatch((path) => path.endsWith('.proto'), {
    changed() {
      last = read();
      changes++;
      proceed();
    },
    failed(error) {
      throw error;
    },
  });
  onTestFinished(() => {
    files.close();
    rmSync(folder, { recursive: true });
  });
  files.add(below.map((path) => join(folder, path)));
  return {
    folder,
    changes: () => changes,
    async seen(change) {
      change();
      while (last !== read()) {
        await new Promise<void>((resolve) => {
          proceed = resolve;
        });
      }
    },
  };
}

/** Of all `.proto` files, each behind its path; links are not followed, as they lead back. */
function textsBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return textsBelow(path);
    const counts = entry.isFile() && path.endsWith('.proto');
    return counts ? [`${path}: ${readFileSync(path, 'utf8')}`] : [];
  });
}

function put(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** As editors save. */
function replace(file: string, text: string): void {
  writeFileSync(`${file}.tmp`, text);
  renameSync(`${file}.tmp`, file);
}

test('files that are written, replaced, removed and made anew, again and again', async () => {
  const { folder, seen } = watched({ 'a.proto': '0', 'deep/b.proto': '0' });
  for (let round = 1; round <= 50; round++) {
    for (const name of ['a.proto', 'deep/b.proto', 'new/c.proto']) {
      const file = join(folder, name);
      await seen(() => put(file, `${round} written`));
      await seen(() => replace(file, `${round} replaced`));
      await seen(() => {
        replace(file, 'not for long');
        replace(file, `${round} replaced twice`);
      });
      await seen(() => rmSync(file));
      await seen(() => put(file, `${round} anew`));
      await seen(() => {
        rmSync(file);
        put(file, `${round} anew at once`);
      });
    }
  }
});

test('folders that come, are moved, replaced and removed, with what is in them', async () => {
  const { folder, seen } = watched({ 'a.proto': '0' });
  const [one, other] = [join(folder, 'one'), join(folder, 'other')];
  for (let round = 1; round <= 30; round++) {
    await seen(() => put(join(one, 'deep/b.proto'), `${round}`));
    await seen(() => put(join(one, 'deep/b.proto'), `${round} written`));
    await seen(() => renameSync(one, other));
    await seen(() => put(join(other, 'deep/b.proto'), `${round} moved`));
    await seen(() => {
      rmSync(other, { recursive: true });
      put(join(other, 'deep/b.proto'), `${round} anew`);
    });
    await seen(() => replace(join(other, 'deep/b.proto'), `${round} replaced`));
    await seen(() => rmSync(other, { recursive: true }));
  }
});

test('files and folders that are named before they are there, or are removed as a whole', async () => {
  const { folder, seen } = watched({}, ['later/deep', 'alone.proto']);
  for (let round = 1; round <= 10; round++) {
    await seen(() => put(join(folder, 'alone.proto'), `${round}`));
    await seen(() => replace(join(folder, 'alone.proto'), `${round} replaced`));
    await seen(() => put(join(folder, 'later/deep/a.proto'), `${round}`));
    await seen(() => put(join(folder, 'later/deep/a.proto'), `${round} written`));
    await seen(() => rmSync(join(folder, 'later'), { recursive: true }));
    await seen(() => rmSync(join(folder, 'alone.proto')));
  }
});

test('what links lead to, also outside and in circles', async () => {
  const { folder, seen } = watched({ 'in/a.proto': '0', 'out/b.proto': '0', 'far/c.proto': '0' }, [
    'in',
  ]);
  symlinkSync('../out/b.proto', join(folder, 'in/b.proto'));
  symlinkSync('../far', join(folder, 'in/far'));
  symlinkSync('..', join(folder, 'far/back'));
  symlinkSync('itself', join(folder, 'in/itself'));
  await seen(() => put(join(folder, 'in/a.proto'), '1'));
  await seen(() => replace(join(folder, 'out/b.proto'), '2'));
  await seen(() => put(join(folder, 'out/b.proto'), '3'));
  await seen(() => replace(join(folder, 'far/c.proto'), '4'));
});

test('nothing is said of what does not count', async () => {
  const { folder, seen, changes } = watched({ 'a.proto': '0' });
  const before = changes();
  put(join(folder, 'a.txt'), 'x');
  put(join(folder, 'node_modules/b.proto'), 'x');
  put(join(folder, '.git/c.proto'), 'x');
  // A folder's events come in their order, and this is one of those that count.
  await seen(() => replace(join(folder, 'a.proto'), '1'));
  expect(changes()).toBe(before + 1);
});
