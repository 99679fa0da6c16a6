import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { CliError } from '../cli-error.js';
import { findBundler } from '../config/bundler.js';

/** What Node.js can run. */
export interface Built {
  readonly entry: string;
  /** Differs if what it was made of does. */
  readonly signature: string;
}

const TYPESCRIPT = /(?<!\.d)\.([cm]?)ts$/;
const URL_OF_MODULE = /new URL\(\s*(['"])(\.[^'"]+)\1\s*,\s*import\.meta\.url\s*\)/g;

/**
 * Makes JavaScript of the program, into a folder; a program in JavaScript is left as it is. Types are
 * not checked.
 *
 * @throws Error of the bundler, for what it cannot parse or find
 */
export async function build(entry: string, folder: string): Promise<Built> {
  const root = dirname(resolve(entry));
  if (!TYPESCRIPT.test(entry)) {
    return { entry: resolve(entry), signature: signatureOf(root, /\.[cm]?js(on)?$/) };
  }
  const bundler = await findBundler(resolve(entry));
  if (bundler === undefined) {
    throw new CliError(`${entry} is TypeScript, and this project has no bundler to build it with`, {
      remedy: 'Install one: npm install --save-dev rolldown, or esbuild.',
    });
  }
  mkdirSync(folder, { recursive: true });
  const entries = new Map<string, string>();
  for (const file of [resolve(entry), ...modulesByAddress(root)]) {
    entries.set(nameOf(relative(root, file)), file);
  }
  await bundler.build(Object.fromEntries(entries), root, folder);
  return {
    entry: join(folder, `${nameOf(basename(entry))}.js`),
    signature: signatureOf(folder, /\.js$/),
  };
}

/** Modules that a program names by their address, as workers and services of threads are. */
function modulesByAddress(root: string): string[] {
  const sources = files(root, TYPESCRIPT);
  const known = new Set(sources);
  const found = new Set<string>();
  for (const file of sources) {
    for (const [, , path] of readFileSync(file, 'utf8').matchAll(URL_OF_MODULE)) {
      const source = resolve(dirname(file), path!).replace(/\.([cm]?)js$/, '.$1ts');
      if (known.has(source)) found.add(source);
    }
  }
  return [...found];
}

function nameOf(path: string): string {
  return path.slice(0, path.length - extname(path).length);
}

function signatureOf(folder: string, pattern: RegExp): string {
  const hash = createHash('sha256');
  for (const file of files(folder, pattern)) {
    hash.update(relative(folder, file)).update('\0').update(readFileSync(file)).update('\0');
  }
  return hash.digest('hex');
}

function files(folder: string, pattern: RegExp): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((found) => {
      const path = join(folder, found.name);
      if (found.isDirectory()) {
        return ['node_modules', '.git', '.millrace'].includes(found.name)
          ? []
          : files(path, pattern);
      }
      return pattern.test(found.name) ? [path] : [];
    })
    .sort();
}
