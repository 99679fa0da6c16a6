// Which crate may depend on which, and which may touch the outside world.

import { expect, test } from 'vitest';
import { files, text } from './tree.js';

/** Of our own crates: what each may depend on. */
const allowed: Record<string, readonly string[]> = {
  http2: [],
  grpc: [],
  fanout: [],
  ring: [],
  tls: [],
  engine: ['http2', 'grpc', 'fanout', 'ring', 'tls'],
  // The ring's shared memory is what the engine's views are made of. Durable groups are no engine's.
  binding: ['engine', 'ring', 'fanout'],
};

const pure = ['http2', 'grpc', 'fanout'];

const manifests = files(/^native\/crates\/[^/]+\/Cargo\.toml$/);
const crateOf = (file: string) => file.split('/')[2] ?? '';

/** Names under `[dependencies]`, those of a single platform included, those of tests not. */
function dependencies(manifest: string): string[] {
  return text(manifest)
    .split(/^(?=\[)/m)
    .filter((section) => /^\[(target\..*\.)?dependencies\]/.test(section))
    .flatMap((section) =>
      [...section.matchAll(/^([\w-]+)\s*[.=]/gm)].map((match) => match[1] ?? ''),
    );
}

test('every crate is known here', () => {
  expect(manifests.map(crateOf).filter((crate) => allowed[crate] === undefined)).toEqual([]);
  expect(manifests.length).toBeGreaterThan(4);
});

test.each(manifests)('%s depends in the right direction', (manifest) => {
  const ours = dependencies(manifest)
    .filter((name) => name.startsWith('millrace-'))
    .map((name) => name.slice('millrace-'.length));
  expect(ours.filter((name) => !allowed[crateOf(manifest)]?.includes(name))).toEqual([]);
});

test('the pure crates depend on nothing', () => {
  const found = manifests
    .filter((manifest) => pure.includes(crateOf(manifest)))
    .flatMap((manifest) => dependencies(manifest).map((name) => `${manifest}: ${name}`));
  expect(found).toEqual([]);
});

test('the pure crates do no I/O, hold no clock and no unsafe code', () => {
  for (const crate of pure) {
    expect(text(`native/crates/${crate}/src/lib.rs`)).toContain('#![forbid(unsafe_code)]');
    const sources = files(/\.rs$/, `native/crates/${crate}/src`);
    for (const file of sources) {
      const code = text(file).replace(/\/\/.*$/gm, '');
      expect(
        [...code.matchAll(/\bstd::(net|fs|time|thread|process|env|io)\b|\bunsafe\s*[{f]/g)].map(
          (match) => `${file}: ${match[0]}`,
        ),
      ).toEqual([]);
    }
  }
});

test.each([
  ['napi', 'binding'],
  ['io-uring', 'ring'],
  ['mio', 'ring'],
  ['rustls', 'tls'],
])('only one crate depends on %s', (name, owner) => {
  const users = manifests.filter((manifest) => dependencies(manifest).includes(name)).map(crateOf);
  expect(users).toEqual([owner]);
});

test('the ring knows no protocol', () => {
  const words = files(/\.rs$/, 'native/crates/ring/src').flatMap((file) =>
    [...text(file).matchAll(/\b(http2?|grpc|hpack)\b/gi)].map((match) => `${file}: ${match[0]}`),
  );
  expect(words).toEqual([]);
});
