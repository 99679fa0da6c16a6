// `npm run pack`: all packages as npm would publish them, in one version, as tarballs.
//
//   npm run pack -- --out DIR        where the tarballs go (default: packages/)
//   npm run pack -- --version 1.2.3  in which version (default: that of framework/package.json)
//   npm run pack -- --binaries DIR   further native binaries, millrace.<target>.node, of other platforms
//   npm run pack -- --all-targets    for a release: fails unless there is a binary for each platform, and
//                                    those for glibc run on the oldest one that Node.js itself runs on
//   npm run pack -- --check          also runs publint and attw over the tarballs, and compares their sizes
//                                    with those in docs/guides/deployment.md
//
// What is in git stays as it is: packages are laid out in a folder of their own. There every package
// gets the version, ours depend on exactly one another, and @millrace/native learns which platform
// packages there are. `npm run setup` has to have built everything; what is stale is compiled again,
// and what earlier builds left behind, without a source, is not packed.

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { currentTarget } from '../native/target.js';
import { bundleFramework } from './bundle.mjs';
import { ask, dim, Failure, main, must, root, say } from './steps.mjs';

const PUBLINT = 'publint@0.3.25';
const ATTW = '@arethetypeswrong/cli@0.18.5';

/** The workspaces that are published; platform packages come on top. */
const folders = [
  'native',
  'framework',
  'services/health',
  'services/pubsub',
  'services/reflection',
  'create-millrace',
];

/**
 * What Node.js 20 itself needs. A binary that is built here needs the glibc of this machine, unless it
 * is built against an older one: `npm run build -w native -- --glibc 2.28`.
 */
const GLIBC_MAX = '2.28';

/** @param {string} folder */
const isCompiled = (folder) =>
  folder !== 'native' && existsSync(join(root, folder, 'tsconfig.json'));

/** @typedef {Record<string, any>} Manifest */

/**
 * @param {string} folder
 * @returns {Manifest}
 */
function manifestOf(folder) {
  return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
}

/** What npm would put into the package of each workspace, by its name. */
async function fileLists() {
  const words = folders.flatMap((folder) => ['--workspace', folder]);
  const text = await ask('npm', ['pack', '--dry-run', '--json', '--ignore-scripts', ...words]);
  if (text === undefined) throw new Failure('`npm pack --dry-run` failed: run it to see why.');
  /** @type {{ name: string, files: { path: string }[] }[]} */
  const packages = JSON.parse(text);
  return new Map(packages.map(({ name, files }) => [name, files.map(({ path }) => path)]));
}

/**
 * Whether what is compiled still has a source: the compiler leaves behind what it made of one that is
 * gone.
 *
 * @param {string} folder
 * @param {string} file
 */
function hasSource(folder, file) {
  const compiled = /^dist\/(.*?)(\.d)?\.(js|ts)(\.map)?$/.exec(file);
  return compiled === null || existsSync(join(root, folder, 'src', `${compiled[1]}.ts`));
}

/**
 * Lays out the packages, ready for `npm pack`.
 *
 * @param {string} staging
 * @param {string} version
 * @param {Map<string, string>} binaries by target
 * @param {boolean} strict whether a binary that needs a newer glibc is an error
 * @returns {Promise<string[]>} their folders
 */
async function layOut(staging, version, binaries, strict) {
  const lists = await fileLists();
  const manifests = folders.map((folder) => ({ folder, manifest: manifestOf(folder) }));
  const ours = new Set(manifests.map(({ manifest }) => manifest['name']));
  const made = [];
  for (const { folder, manifest } of manifests) {
    const files = (lists.get(manifest['name']) ?? []).filter((file) => hasSource(folder, file));
    const target = join(staging, folder);
    for (const file of files) copy(join(root, folder, file), join(target, file));
    if (folder !== 'native' && !files.some((file) => /^(dist\/|index\.js$)/.test(file))) {
      throw new Failure(`${folder} is not built: run \`npm run setup\` first.`);
    }
    if (folder === 'native') {
      manifest['optionalDependencies'] = Object.fromEntries(
        [...binaries.keys()].map((name) => [`@millrace/native-${name}`, version]),
      );
    }
    finish(target, manifest, version, ours);
    if (folder === 'framework') await bundleFramework(target);
    made.push(target);
  }
  for (const [name, binary] of binaries) {
    const folder = `native/npm/${name}`;
    const target = join(staging, 'platforms', name);
    const manifest = manifestOf(folder);
    copy(binary, join(target, manifest['main']));
    if (name.endsWith('-gnu')) checkGlibc(name, binary, strict);
    // Line tables are two thirds of it, and of no use to a program that runs.
    if (name === currentTarget() && process.platform === 'linux') {
      await ask('strip', ['--strip-debug', join(target, manifest['main'])]);
    }
    writeFileSync(
      join(target, 'README.md'),
      `# ${manifest['name']}\n\nThe native core of [Millrace](https://www.npmjs.com/package/millrace), built for ${name}.\n`,
    );
    finish(target, manifest, version, ours);
    made.push(target);
  }
  return made;
}

/**
 * @param {string} target
 * @param {Manifest} manifest
 * @param {string} version
 * @param {ReadonlySet<string>} ours
 */
function finish(target, manifest, version, ours) {
  const { scripts: _, devDependencies: __, napi: ___, ...kept } = manifest;
  for (const kind of ['dependencies', 'peerDependencies']) {
    for (const name of Object.keys(kept[kind] ?? {})) {
      if (ours.has(name)) kept[kind][name] = version;
    }
  }
  const text = JSON.stringify({ ...kept, version }, undefined, 2);
  writeFileSync(join(target, 'package.json'), `${text}\n`);
  copy(join(root, 'LICENSE'), join(target, 'LICENSE'));
}

/**
 * @param {string} from
 * @param {string} to
 */
function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}

/**
 * The native binaries there are, by target, in the order of the matrix in native/npm.
 *
 * @param {string | undefined} elsewhere
 * @param {boolean} all
 */
function findBinaries(elsewhere, all) {
  const places = [join(root, 'native'), ...(elsewhere === undefined ? [] : [resolve(elsewhere)])];
  /** @type {Map<string, string>} */
  const found = new Map();
  const missing = [];
  for (const target of readdirSync(join(root, 'native/npm')).sort()) {
    const name = `millrace.${target}.node`;
    const binary = places.map((place) => join(place, name)).find((file) => existsSync(file));
    if (binary === undefined) missing.push(name);
    else found.set(target, binary);
  }
  if (found.size === 0) {
    throw new Failure('There is no native binary to pack: run `npm run setup` first.');
  }
  if (all && missing.length > 0) {
    throw new Failure(
      `Not every platform has a binary; missing: ${missing.join(', ')}. Build each on its platform (npm run build -w native) and name their folder with --binaries.`,
    );
  }
  return found;
}

/**
 * Says which glibc a binary needs: the newest version that its symbols name.
 *
 * @param {string} target
 * @param {string} binary
 * @param {boolean} strict
 */
function checkGlibc(target, binary, strict) {
  const names = readFileSync(binary, 'latin1').matchAll(/\bGLIBC_2\.(\d+)\b/g);
  const minor = Math.max(...[...names].map(([, number]) => Number(number)));
  const line = `the binary for ${target} needs glibc 2.${minor}`;
  if (minor <= Number(GLIBC_MAX.split('.')[1])) return say(dim(line));
  const remedy = `for a release build it against ${GLIBC_MAX}: npm run build -w native -- --glibc ${GLIBC_MAX}`;
  if (strict) throw new Failure(`${line}; ${remedy}.`);
  say(dim(`${line}; ${remedy}`));
}

/**
 * Prints what was packed, and fails for a file that no package may have.
 *
 * @param {string} out
 * @param {readonly string[]} tarballs
 */
function report(out, tarballs) {
  for (const name of tarballs) {
    const file = join(out, name);
    const paths = pathsIn(gunzipSync(readFileSync(file)));
    const wrong = paths.filter(
      (path) => /\.test(-d|-support)?\.|\.tsbuildinfo$/.test(path) && !path.includes('/templates/'),
    );
    if (wrong.length > 0) throw new Failure(`${name} holds what is no part of it: ${wrong}`);
    const size = `${(statSync(file).size / 1000).toFixed(0)} kB`;
    say(`${name.padEnd(44)} ${size.padStart(8)}  ${paths.length} files`);
  }
}

/**
 * The paths in a tar archive as npm writes it.
 *
 * @param {Buffer} tar
 */
function pathsIn(tar) {
  const paths = [];
  for (let at = 0; tar[at] !== undefined && tar[at] !== 0; ) {
    const field = (/** @type {number} */ from, /** @type {number} */ length) =>
      tar.toString('utf8', at + from, at + from + length).replace(/\0.*$/s, '');
    const prefix = field(345, 155);
    // `x` and `g` are headers about other entries.
    if (/^[\0 0]?$/.test(field(156, 1))) {
      paths.push(prefix === '' ? field(0, 100) : `${prefix}/${field(0, 100)}`);
    }
    at += 512 + Math.ceil(Number.parseInt(field(124, 12), 8) / 512) * 512;
  }
  return paths;
}

const SIZES = 'docs/guides/deployment.md';

/**
 * Fails where the document about it says other sizes, by more than a fifth.
 *
 * @param {string} out
 * @param {readonly string[]} tarballs
 */
function checkSizes(out, tarballs) {
  const rows = readFileSync(join(root, SIZES), 'utf8').matchAll(
    /^\| `([^`]+)` \| ([\d,]+) kB \|$/gm,
  );
  const written = new Map(
    Array.from(rows, ([, name = '', size = '']) => [
      `${name.replace('@', '').replace('/', '-')}-`,
      Number(size.replaceAll(',', '')),
    ]),
  );
  for (const file of tarballs) {
    const size = Math.round(statSync(join(out, file)).size / 1000);
    const said = written.get(file.replace(/\d.*$/, ''));
    // The other platforms' are about as large.
    if (said === undefined && file.startsWith('millrace-native-')) continue;
    if (said === undefined || Math.abs(size - said) > Math.max(1, size / 5)) {
      throw new Failure(`${SIZES} says ${said ?? 'nothing'} for ${file}: write ${size} kB.`);
    }
  }
}

/**
 * @param {string} out
 * @param {readonly string[]} tarballs
 */
async function check(out, tarballs) {
  checkSizes(out, tarballs);
  for (const name of tarballs) {
    // A platform package is one binary: it has nothing that is imported by name, and no types.
    if (/^millrace-native-\w+-\w+/.test(name)) continue;
    const file = join(out, name);
    await must('npx', ['--yes', PUBLINT, '--strict', file]);
    // A package with nothing to import has no types to check.
    if (name.startsWith('create-')) continue;
    await must('npx', ['--yes', ATTW, '--profile', 'esm-only', '--no-emoji', file]);
  }
}

await main(async () => {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: 'packages' },
      version: { type: 'string', default: manifestOf('framework')['version'] },
      binaries: { type: 'string' },
      'all-targets': { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
    },
  });
  const { version } = values;
  if (!/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/.test(version)) {
    throw new Failure(`${version} is no version: write three numbers, as in 1.2.3 or 1.2.3-rc.1.`);
  }
  const out = resolve(values.out);
  const strict = values['all-targets'];
  const binaries = findBinaries(values.binaries, strict);
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  await must(process.execPath, [compiler, '-b', ...folders.filter(isCompiled)]);
  const staging = mkdtempSync(join(tmpdir(), 'millrace-pack-'));
  try {
    const packages = await layOut(staging, version, binaries, strict);
    mkdirSync(out, { recursive: true });
    const words = ['pack', '--json', '--ignore-scripts', '--pack-destination', out, ...packages];
    const packed = await ask('npm', words);
    if (packed === undefined) {
      throw new Failure(`\`npm pack\` failed: can ${out} be written, and is there space?`);
    }
    /** @type {string[]} */
    const tarballs = JSON.parse(packed).map((/** @type {Manifest} */ one) => one['filename']);
    report(out, tarballs);
    if (values.check) await check(out, tarballs);
    say(dim(`${tarballs.length} packages of version ${version} in ${out}`));
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
});
