// `npm run setup`: installs and builds what is stale, and says in one sentence what is missing.
// The other scripts call `setup()` first, so that any of them works from a fresh clone.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ask, bold, dim, Failure, main, must, root, say, seconds } from './steps.mjs';

/**
 * Fails with the remedy when Node.js or Rust is missing or too old, and when the native core has
 * no linker to build with.
 */
async function checkTools() {
  const node = process.versions.node;
  if (!atLeast(node, '20.19.0')) {
    throw new Failure(
      `Millrace needs Node.js 20.19 or newer and this is ${node}: install a current one from https://nodejs.org.`,
    );
  }
  const cargo = await ask('cargo', ['--version']);
  if (cargo === undefined) {
    throw new Failure(
      'Millrace builds its native core with Rust and `cargo` was not found: install Rust from https://rustup.rs, open a new terminal and run this again.',
    );
  }
  const wanted = /^rust-version = "([^"]+)"/m.exec(
    readFileSync(join(root, 'native/Cargo.toml'), 'utf8'),
  )?.[1];
  const found = /\d+\.\d+\.\d+/.exec(cargo)?.[0];
  if (wanted !== undefined && found !== undefined && !atLeast(found, wanted)) {
    throw new Failure(
      `Millrace needs Rust ${wanted} or newer and this is ${found}: run \`rustup update stable\` and then this again.`,
    );
  }
  if (process.platform === 'linux' && (await ask('cc', ['--version'])) === undefined) {
    throw new Failure(
      'Rust needs a C linker and `cc` was not found: install one (Debian, Ubuntu: `apt-get install gcc libc6-dev`; Fedora: `dnf install gcc`; Alpine: `apk add build-base`) and run this again.',
    );
  }
}

/**
 * @param {string} version
 * @param {string} floor
 */
function atLeast(version, floor) {
  const [a, b] = [version, floor].map((text) => text.split('.').map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (a?.[i] ?? 0) - (b?.[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/**
 * Whether node_modules holds what the lock file asks for. npm records what it installed in a lock
 * file of its own; a package for another platform is missing from that one rightly.
 */
function dependenciesAreFresh() {
  const installed = lockedPackages('node_modules/.package-lock.json');
  const wanted = lockedPackages('package-lock.json');
  if (installed === undefined || wanted === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '' || (!path.startsWith('node_modules/') && !path.includes('/node_modules/'))) {
      return true;
    }
    const present = installed[path];
    if (present === undefined) return entry.optional === true;
    return present.version === entry.version && present.integrity === entry.integrity;
  });
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string, integrity?: string, optional?: boolean }> | undefined}
 */
function lockedPackages(file) {
  try {
    return JSON.parse(readFileSync(join(root, file), 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** One hash over everything the native module is built from. */
function hashOfNativeSources() {
  const hash = createHash('sha256');
  hash.update(`${process.version} ${process.platform} ${process.arch}`);
  for (const file of filesBelow(join(root, 'native'))) {
    if (!/\.(rs|toml|lock|c|h)$|(^|[\\/])package\.json$/.test(file)) continue;
    if (/[\\/](tests|benches|fuzz)[\\/]/.test(file)) continue;
    hash.update(relative(root, file)).update('\0').update(readFileSync(file)).update('\0');
  }
  return hash.digest('hex');
}

/**
 * @param {string} folder
 * @returns {string[]} sorted
 */
function filesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      if (entry.isDirectory()) {
        if (['target', 'node_modules', '.git'].includes(entry.name)) return [];
        return filesBelow(join(folder, entry.name));
      }
      return [join(folder, entry.name)];
    });
}

const nativeStamp = join(root, 'node_modules/.cache/millrace/native');

function nativeIsFresh() {
  const built = readdirSync(join(root, 'native')).some((name) => name.endsWith('.node'));
  if (!built || !existsSync(nativeStamp)) return false;
  return readFileSync(nativeStamp, 'utf8') === hashOfNativeSources();
}

/**
 * @param {string} title
 * @param {() => boolean} fresh
 * @param {() => Promise<unknown>} work
 */
async function step(title, fresh, work) {
  if (fresh()) {
    say(`${bold(title)} ${dim('up to date')}`);
    return;
  }
  say(bold(`${title} …`));
  const start = performance.now();
  await work();
  say(dim(`  done in ${seconds(performance.now() - start)}`));
}

/** Brings a clone to the point where everything can run. Seconds when nothing has changed. */
export async function setup() {
  await checkTools();
  await step('[1/3] Dependencies', dependenciesAreFresh, () => must('npm', ['ci']));
  await step(
    '[2/3] Native core (Rust, release; the first build takes a minute or two)',
    nativeIsFresh,
    async () => {
      const hash = hashOfNativeSources();
      await must('npm', ['run', 'build', '--workspace', 'native']);
      mkdirSync(resolve(nativeStamp, '..'), { recursive: true });
      writeFileSync(nativeStamp, hash);
    },
  );
  // The compiler keeps its own account of what is stale.
  await step(
    '[3/3] Framework and examples (TypeScript)',
    () => false,
    () =>
      must(process.execPath, [
        join(root, 'node_modules/typescript/bin/tsc'),
        '-b',
        'framework',
        'services/pubsub',
        'examples/echo',
        'examples/pubsub',
        'test/support/certificates',
      ]),
  );
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await main(setup);
}
