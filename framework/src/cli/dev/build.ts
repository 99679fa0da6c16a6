import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { CliError } from '../cli-error.js';
import { type Bundle, findBundler } from '../config/bundler.js';

/** What Node.js can run. */
export interface Built {
  readonly entry: string;
  /** Differs if what it was made of does. */
  readonly signature: string;
}

const TYPESCRIPT = /(?<!\.d)\.([cm]?)ts$/;
const URL_OF_MODULE = /new URL\(\s*(['"])(\.[^'"]+)\1\s*,\s*import\.meta\.url\s*\)/g;

/**
 * Makes JavaScript of a program, again and again; one in JavaScript is left as it is. Types are not
 * checked.
 */
export class Builder {
  readonly #entry: string;
  readonly #root: string;
  /** Kept from build to build, as long as it is of the same modules. */
  #open: { readonly bundle: Bundle; readonly entries: string } | undefined;

  constructor(entry: string) {
    this.#entry = resolve(entry);
    this.#root = dirname(this.#entry);
  }

  /**
   * Builds what the sources are now, into a folder.
   *
   * @throws CliError without a bundler; Error of the bundler, for what it cannot parse or find
   */
  async build(folder: string): Promise<Built> {
    const root = this.#root;
    if (!TYPESCRIPT.test(this.#entry)) {
      return { entry: this.#entry, signature: signatureOf(root, /\.[cm]?js(on)?$/) };
    }
    mkdirSync(folder, { recursive: true });
    await (await this.#bundle()).write(folder);
    return {
      entry: join(folder, `${nameOf(basename(this.#entry))}.js`),
      signature: signatureOf(folder, /\.js$/),
    };
  }

  async close(): Promise<void> {
    await this.#open?.bundle.close();
    this.#open = undefined;
  }

  async #bundle(): Promise<Bundle> {
    const modules = [this.#entry, ...modulesByAddress(this.#root)];
    const entries = modules.sort().join('\0');
    if (this.#open?.entries === entries) return this.#open.bundle;
    await this.close();
    const bundler = await findBundler(this.#entry);
    if (bundler === undefined) {
      const shown = relative('', this.#entry);
      throw new CliError(
        `${shown} is TypeScript, and this project has no bundler to build it with`,
        {
          remedy: 'Install one: npm install --save-dev rolldown.',
        },
      );
    }
    const named = modules.map((file) => [nameOf(relative(this.#root, file)), file]);
    const bundle = await bundler.open(Object.fromEntries(named), this.#root);
    this.#open = { bundle, entries };
    return bundle;
  }
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
