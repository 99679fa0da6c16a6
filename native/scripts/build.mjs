// Builds the native module for this platform: native/millrace.<target>.node. Cargo decides what is
// stale; nothing is downloaded but crates, and nothing runs at install.
//
//   npm run build -w native -- --glibc 2.28    against this glibc instead of this machine's, for binaries
//                                              that others run; needs cargo-zigbuild and zig
//                                              (pip install ziglang cargo-zigbuild)

import { spawn } from 'node:child_process';
import { copyFileSync, renameSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { currentTarget } from '../target.js';

const native = fileURLToPath(new URL('..', import.meta.url));
const { glibc } = parseArgs({ options: { glibc: { type: 'string' } } }).values;

const library = await build();
const file = `${native}millrace.${currentTarget()}.node`;
// A process may have the old file mapped: a new file takes its name, the old one is not written to.
const staged = `${file}.${process.pid}`;
try {
  copyFileSync(library, staged);
  renameSync(staged, file);
} finally {
  rmSync(staged, { force: true });
}
console.log(`built ${file}`);

/** @returns {Promise<string>} the path of the library */
async function build() {
  const cargo = spawn(
    'cargo',
    [
      glibc === undefined ? 'build' : 'zigbuild',
      '--release',
      '--package=millrace-binding',
      '--message-format=json-render-diagnostics',
      ...(glibc === undefined ? [] : ['--target', `${triple()}.${glibc}`]),
    ],
    { cwd: native, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let output = '';
  cargo.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const code = await new Promise((resolve) => {
    cargo.on('error', (failure) => {
      console.error(
        `cargo does not start (${failure.message}): install Rust from https://rustup.rs.`,
      );
      resolve(1);
    });
    cargo.on('close', resolve);
  });
  const library = output
    .split('\n')
    .filter((line) => line.includes('"compiler-artifact"'))
    .map((line) => JSON.parse(line))
    .filter((artifact) => artifact.target.name === 'millrace_binding')
    .flatMap((artifact) => artifact.filenames)
    .find((name) => /\.(so|dylib|dll)$/.test(name));
  if (code !== 0 || library === undefined) process.exit(1);
  return library;
}

/** What Rust calls this platform. */
function triple() {
  /** @type {Partial<Record<NodeJS.Architecture, string>>} */
  const architectures = { x64: 'x86_64', arm64: 'aarch64' };
  const architecture = architectures[process.arch];
  if (architecture !== undefined && currentTarget().endsWith('-gnu')) {
    return `${architecture}-unknown-linux-gnu`;
  }
  console.error(`--glibc is for Linux with glibc, and this is ${currentTarget()}.`);
  process.exit(1);
}
