import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { CliError } from '../cli-error.js';
import { writeRemedy } from '../write-remedy.js';
import { type Bundler, findBundler } from './bundler.js';

/**
 * Imports a module of the project as it is now, however often it was imported before. TypeScript is
 * bundled by the project's bundler, or left to Node.js where that strips types.
 *
 * @param file absolute
 */
export async function importModule(file: string): Promise<Record<string, unknown>> {
  const shown = relative('', file);
  try {
    if (!/\.[cm]?ts$/.test(file)) return await fresh(file);
    const bundler = await findBundler(file);
    if (bundler) return await importBundled(file, bundler);
    if (stripsTypes()) return await fresh(file);
  } catch (error) {
    if (error instanceof CliError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    // Bundlers colour what they say, wherever it goes.
    throw new CliError(`${shown} cannot be loaded: ${stripVTControlCharacters(reason).trimEnd()}`, {
      cause: error,
    });
  }
  throw new CliError(`${shown} is TypeScript, and this project has no bundler to load it with`, {
    remedy: `Install one (npm install --save-dev rolldown), or rename the file to ${basename(shown).replace(/ts$/, 'js').replace(/\.js$/, '.mjs')} and write JavaScript.`,
  });
}

/** What the system says of a folder in which nothing may be written. */
const READ_ONLY: ReadonlySet<string> = new Set(['EROFS', 'EACCES', 'EPERM']);

/** Whether this Node.js runs TypeScript by itself; 20.19 does not. */
function stripsTypes(): boolean {
  const { typescript } = process.features as { readonly typescript?: string | false };
  return Boolean(typescript);
}

async function fresh(file: string): Promise<Record<string, unknown>> {
  return (await import(`${pathToFileURL(file).href}?${randomUUID()}`)) as Record<string, unknown>;
}

/**
 * Imports from beside the file, so that packages and `import.meta` are what they are for it. Where
 * nothing may be written there, from nowhere, and so with all that it imports.
 */
async function importBundled(file: string, bundler: Bundler): Promise<Record<string, unknown>> {
  const text = await bundler.bundle(file);
  const copy = join(dirname(file), `.${basename(file)}.${randomUUID()}.mjs`);
  try {
    await writeFile(copy, text);
  } catch (error) {
    // Where it could not be written it may not be removable either, and that is not what to say.
    await rm(copy, { force: true }).catch(() => {});
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (READ_ONLY.has(code)) {
      const whole = Buffer.from(await bundler.bundle(file, true)).toString('base64');
      const url = `data:text/javascript;base64,${whole}`;
      return (await import(url)) as Record<string, unknown>;
    }
    throw new CliError(`${relative('', file)} cannot be built beside itself: ${message}`, {
      remedy: `${writeRemedy(error)} Or write it in JavaScript, as millrace.config.mjs: that is read as it is.`,
      cause: error,
    });
  }
  try {
    return (await import(pathToFileURL(copy).href)) as Record<string, unknown>;
  } finally {
    await rm(copy, { force: true });
  }
}
