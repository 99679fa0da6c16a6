// What nobody meant to leave behind.

import { expect, test } from 'vitest';
import { files, root, text } from './tree.js';

const everything = files(
  /\.(ts|mts|mjs|js|json|jsonc|rs|toml|lock|proto|md|sh|yml|yaml|go|mod|npmrc)$|^\.ci\//,
);
/** This folder names what it looks for. */
const sources = everything.filter((file) => !file.startsWith('test/tidy/'));

function found(pattern: RegExp, among: readonly string[]): string[] {
  return among.flatMap((file) =>
    text(file)
      .split('\n')
      .flatMap((line, index) =>
        pattern.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [],
      ),
  );
}

test('there is something to look at', () => {
  expect(sources.length).toBeGreaterThan(100);
});

test('no notes to self', () => {
  expect(found(/\b(TODO|FIXME|HACK|XXX)\b/, sources)).toEqual([]);
});

test('no focused or debugging code', () => {
  const code = sources.filter((file) => /\.(ts|mjs|js|rs)$/.test(file));
  expect(found(/\b(test|it|describe)\.only\(|^\s*debugger;|\bdbg!\(/, code)).toEqual([]);
});

test('no path of the machine on which it was written', () => {
  const clone = root.replace(/[\\/]$/, '').replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  expect(found(new RegExp(`${clone}/|(?<![\\w.])/(root|home/\\w+|Users/\\w+)/`), sources)).toEqual(
    [],
  );
});

test('no host of a package registry', () => {
  expect(
    found(/registry\.npmjs|registry\.yarnpkg|"resolved": "https?:|proxy\.golang/, sources),
  ).toEqual([]);
});

test('lock files name packages by hash, and crates by the public index', () => {
  const lock = JSON.parse(text('package-lock.json'));
  const remote = Object.entries<{ resolved?: string; link?: boolean }>(lock.packages).filter(
    ([, entry]) => entry.resolved !== undefined && entry.link !== true,
  );
  expect(remote).toEqual([]);
  const indexes = text('native/Cargo.lock').match(/^source = .*$/gm) ?? [];
  expect([...new Set(indexes)]).toEqual([
    'source = "registry+https://github.com/rust-lang/crates.io-index"',
  ]);
});
