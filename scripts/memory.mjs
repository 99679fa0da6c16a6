// `npm run test:memory`: the Rust tests under what finds wrong uses of memory.
//
//   npm run test:memory                    all that runs here
//   npm run test:memory -- asan            one of asan, valgrind, miri
//
// - AddressSanitizer, with leaks: every crate that does no N-API, over real sockets too.
// - valgrind: the same binaries as `cargo test`, without what tries a million random steps.
// - Miri: the crates that do no I/O.
//
// None of them sees what the kernel writes into a buffer; for that, buffers are poisoned when they
// are released (native/crates/ring/tests/poison.rs). What cannot run here is skipped, aloud.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ask, bold, Failure, main, run, say } from './steps.mjs';

const PURE = ['millrace-http2', 'millrace-grpc', 'millrace-fanout'];
/** Fewer random cases for what is many times slower. */
const FEW = { PROPTEST_CASES: '8' };

/** @param {readonly string[]} crates */
const packages = (crates) => crates.flatMap((name) => ['-p', name]);

/** @param {string} name */
const faults = (name) => (name === 'millrace-ring' ? ['--features', 'millrace-ring/__fault'] : []);

/**
 * @typedef {{ skipped: string } | { failed: string[] }} Outcome
 */

/** @returns {Promise<Outcome>} */
async function asan() {
  const host = /^host: (\S+)$/m.exec((await ask('rustc', ['-vV'])) ?? '')?.[1] ?? 'unknown';
  const sysroot = (await ask('rustc', ['--print', 'sysroot']))?.trim() ?? '';
  let libraries = [''];
  try {
    libraries = readdirSync(join(sysroot, 'lib/rustlib', host, 'lib'));
  } catch {
    // Told below.
  }
  if (!libraries.some((file) => file.includes('rt.asan'))) {
    return { skipped: `the compiler for ${host} has no AddressSanitizer; x86-64 Linux has` };
  }
  const failed = [];
  for (const [crates, options] of [
    [[...PURE, 'millrace-ring'], ''],
    // A test gives an engine up as a worker's end does, which leaves its memory on purpose.
    [['millrace-engine'], 'detect_leaks=0'],
  ]) {
    const names = /** @type {readonly string[]} */ (crates);
    const { code } = await run(
      'cargo',
      [
        ...['test', '--manifest-path', 'native/Cargo.toml', '--no-fail-fast', '--target', host],
        // Not the examples in comments, which another compiler builds.
        '--tests',
        ...packages(names),
        ...names.flatMap(faults),
      ],
      {
        env: {
          // The sanitizer is an unstable option; this lets a stable compiler have it.
          RUSTC_BOOTSTRAP: '1',
          RUSTFLAGS: '-Zsanitizer=address',
          ASAN_OPTIONS: String(options),
          RUST_BACKTRACE: '0',
        },
      },
    );
    if (code !== 0) failed.push(`AddressSanitizer, ${names.join(', ')}: see above`);
  }
  return { failed };
}

/** @returns {Promise<Outcome>} */
async function valgrind() {
  if ((await ask('valgrind', ['--version'])) === undefined) {
    return { skipped: 'valgrind is missing: apt-get install valgrind' };
  }
  const failed = [];
  for (const name of [...PURE, 'millrace-ring']) {
    const build = [
      ...['test', '--manifest-path', 'native/Cargo.toml', '-p', name, '--lib', '--no-run'],
      ...faults(name),
    ];
    const built = await run('cargo', build);
    const text = await ask('cargo', [...build, '--message-format=json']);
    if (built.code !== 0 || text === undefined) {
      failed.push(`${name}: not built`);
      continue;
    }
    for (const binary of text
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
      .filter(({ profile, executable }) => profile?.test === true && executable !== null)
      .map(({ executable }) => String(executable))) {
      say(`\nvalgrind ${binary}`);
      const { code } = await run(
        'valgrind',
        [
          ...['-q', '--error-exitcode=99', '--leak-check=full', '--errors-for-leak-kinds=definite'],
          '--show-leak-kinds=definite',
          // The models take a million random steps each, and the self-test of a driver has three
          // seconds, which it cannot keep here.
          ...[binary, '--test-threads=1', '--skip', 'models', '--skip', 'probe'],
        ],
        { env: FEW },
      );
      if (code !== 0) failed.push(`${name}: ${code === 99 ? 'valgrind' : 'a test'} failed`);
    }
  }
  return { failed };
}

/** @returns {Promise<Outcome>} */
async function miri() {
  if ((await ask('cargo', ['miri', '--version'])) === undefined) {
    return {
      skipped:
        'this compiler has no Miri: rustup toolchain install nightly --component miri, then ' +
        'RUSTUP_TOOLCHAIN=nightly npm run test:memory -- miri',
    };
  }
  const { code } = await run(
    'cargo',
    ['miri', 'test', '--manifest-path', 'native/Cargo.toml', '--lib', ...packages(PURE)],
    // Property tests write down what failed, which needs the file system.
    { env: { ...FEW, MIRIFLAGS: '-Zmiri-disable-isolation' } },
  );
  return { failed: code === 0 ? [] : ['Miri: see above'] };
}

const TOOLS = { asan, valgrind, miri };

await main(async () => {
  const wanted = process.argv.slice(2);
  const unknown = wanted.find((name) => !Object.hasOwn(TOOLS, name));
  if (unknown !== undefined) {
    throw new Failure(`There is no \`${unknown}\`; there are: ${Object.keys(TOOLS).join(', ')}.`);
  }
  /** @type {string[]} */
  const lines = [];
  /** @type {string[]} */
  const failures = [];
  for (const [name, tool] of Object.entries(TOOLS)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    say(`\n${bold(name)}`);
    const outcome = await tool();
    if ('skipped' in outcome) lines.push(`SKIPPED ${name}: ${outcome.skipped}`);
    else {
      failures.push(...outcome.failed);
      lines.push(`${name}: ${outcome.failed.length === 0 ? 'passed' : 'FAILED'}`);
    }
  }
  say(`\n${lines.join('\n')}`);
  if (failures.length > 0) throw new Failure(failures.join('\n'));
});
