// The names that no application may set are the same in the framework, which says so in time, and in
// the native core, which would not send them.

import { expect, test } from 'vitest';
import { text } from './tree.js';

const native = text('native/crates/grpc/src/metadata.rs');
const framework = text('framework/src/context/metadata-names.ts');

/** What the function of that name compares with. */
function literals(source: string, from: RegExp, to: string, pattern: RegExp): string[] {
  const start = source.search(from);
  const part = source.slice(start, source.indexOf(to, start));
  return [...part.matchAll(pattern)].map(([, name = '']) => name).filter((name) => name !== '');
}

test('the names of HTTP', () => {
  const rust = literals(native, /pub fn is_reserved_name/, '\n}', /b"([a-z-]+)"/g);
  const typescript = literals(framework, /const RESERVED/, '\n};', /^ {2}'?([a-z-]+)'?:/gm);
  expect(rust.filter((name) => name !== 'grpc-').sort()).toEqual(
    typescript.filter((name) => !name.startsWith('grpc-')).sort(),
  );
});

test('the names of gRPC that are the application’s', () => {
  const rust = literals(native, /const SHARED_NAMES/, '\n];', /b"([a-z-]+)"/g);
  const typescript = literals(framework, /const SHARED /, '\n]);', /'([a-z-]+)'/g);
  // Handlers may read it, and only retries set it.
  expect(rust.sort()).toEqual([...typescript, 'grpc-previous-rpc-attempts'].sort());
});
