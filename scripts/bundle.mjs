// Makes few modules of the many that a program loads when it imports `millrace`: Node.js spends a third
// of a millisecond on each, before anything of it runs. Only what is packed is bundled; in a clone the
// modules stay as the compiler writes them.

import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { Failure } from './steps.mjs';

/** Beside each other in the sources, and not loaded by servers and clients. */
const APART = /^cli\//;

/** In which folder code is that finds a file by its own address; bundled, it has to stay there. */
const HOME = 'server';

/**
 * Replaces the compiled modules of the framework in its laid out package, all but those of the command
 * line. What is imported from outside keeps its file, which then re-exports what others share.
 *
 * @param {string} target the package's folder
 */
export async function bundleFramework(target) {
  const { rolldown } = await import('rolldown');
  // Those of the package, so that source maps point at them.
  const sources = join(target, 'src');
  const compiled = modulesBelow(join(target, 'dist'));
  const inside = compiled.filter((file) => !APART.test(file));
  const entries = entriesOf(target, compiled);
  const input = Object.fromEntries([...entries].map((name) => [name, join(sources, `${name}.ts`)]));
  const open = (/** @type {Record<string, string>} */ of) =>
    rolldown({
      input: of,
      cwd: sources,
      platform: 'node',
      external: /^(?![./])/,
      logLevel: 'warn',
    });
  /** @param {string} name */
  const reached = async (name) => {
    const bundle = await open({ [name]: join(sources, `${name}.ts`) });
    const { output } = await bundle.generate({ format: 'esm' });
    await bundle.close();
    return new Set(output.flatMap((file) => (file.type === 'chunk' ? file.moduleIds : [])));
  };
  const [codec, server] = [await reached('codec/index'), await reached('index')];
  const bundle = await open(input);
  const { output } = await bundle.write({
    dir: join(target, 'dist'),
    format: 'esm',
    // The sources are in the package.
    sourcemap: true,
    sourcemapExcludeSources: true,
    cleanDir: false,
    minifyInternalExports: false,
    entryFileNames: '[name].js',
    chunkFileNames: '[name].js',
    codeSplitting: {
      groups: [
        // Generated code needs the codecs alone.
        { name: 'codec/runtime', test: (id) => codec.has(id), priority: 2 },
        { name: `${HOME}/runtime`, test: (id) => server.has(id), priority: 1 },
      ],
    },
  });
  await bundle.close();
  for (const file of output) if (file.type === 'asset') checkMap(target, file);
  const written = new Set(output.map((file) => file.fileName));
  for (const file of inside) {
    if (!written.has(file)) rmSync(join(target, 'dist', file));
    if (!written.has(`${file}.map`)) rmSync(join(target, 'dist', `${file}.map`), { force: true });
  }
}

const IMPORTS = /\b(?:from|import)\s*\(?\s*'(\.[^']+)'/g;
const ADDRESSES = /new URL\('(\.[^']+)', import\.meta\.url\)/g;

/**
 * What is imported from outside of the bundle: by users, by the command line, and by its address.
 *
 * @param {string} target
 * @param {readonly string[]} compiled
 * @returns {Set<string>} without their extension
 */
function entriesOf(target, compiled) {
  const { exports } = JSON.parse(readFileSync(join(target, 'package.json'), 'utf8'));
  const dist = join(target, 'dist');
  const files = new Set(Object.values(exports).map((row) => resolve(target, row.default ?? row)));
  for (const file of compiled) {
    const path = join(dist, file);
    const apart = APART.test(file);
    const imports = apart ? IMPORTS : ADDRESSES;
    for (const [, name] of readFileSync(path, 'utf8').matchAll(imports)) {
      const named = resolve(dirname(path), name ?? '');
      // Documentation shows addresses, too.
      if (!existsSync(named)) continue;
      if (!apart && dirname(file) !== HOME) {
        throw new Failure(
          `dist/${file} names ${name} by its address: bundled, it would not find it.`,
        );
      }
      files.add(named);
    }
  }
  const names = [...files].map((file) => relative(dist, file).split(sep).join('/'));
  return new Set(
    names
      .filter((name) => name.endsWith('.js') && !name.startsWith('..') && !APART.test(name))
      .map((name) => name.slice(0, -'.js'.length)),
  );
}

/**
 * Whether all that a source map points at is in the package.
 *
 * @param {string} target
 * @param {{ readonly fileName: string, readonly source: string | Uint8Array }} map
 */
function checkMap(target, { fileName, source }) {
  const { sources } = JSON.parse(String(source));
  for (const path of sources) {
    if (existsSync(join(target, 'dist', dirname(fileName), path))) continue;
    throw new Failure(`dist/${fileName} points at ${path}, which is not in the package.`);
  }
}

/**
 * The JavaScript below a folder, by path with slashes.
 *
 * @param {string} folder
 */
function modulesBelow(folder) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((file) => file.split(sep).join('/'))
    .filter((file) => file.endsWith('.js'));
}
