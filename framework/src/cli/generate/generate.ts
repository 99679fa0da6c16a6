import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { printModule } from './module.js';
import { resolveFiles } from './resolve.js';
import { readSources } from './sources.js';

export interface GenerateOptions {
  /** .proto files, and folders that are searched for them. */
  readonly proto: readonly string[];
  /** Further folders in which imports are looked for. */
  readonly importPaths?: readonly string[];
  /** What the modules import the codec runtime from: `millrace/codec`, if not given. */
  readonly runtime?: string;
  /** Texts of .proto files by absolute path, which count as if they had been written. */
  readonly drafts?: ReadonlyMap<string, string>;
}

/** A module that was generated. */
export interface GeneratedFile {
  /** Relative to the output folder, with slashes: `millrace/echo/v1/echo.ts`. */
  readonly path: string;
  readonly text: string;
}

/**
 * Generates the modules of the .proto files and of those they use. Writes nothing.
 *
 * @throws GenerateError with everything that is wrong, by file, line and column
 */
export function generate(options: GenerateOptions): GeneratedFile[] {
  const { proto, importPaths = [], drafts } = options;
  const files = resolveFiles(readSources(proto, importPaths, drafts));
  return files.flatMap((file) => {
    const text = printModule(file, { runtime: options.runtime ?? 'millrace/codec' });
    return text === undefined ? [] : [{ path: file.path.replace(/\.proto$/, '.ts'), text }];
  });
}

/** The files of which the output folder holds something else, or nothing. */
export function outdated(files: readonly GeneratedFile[], out: string): GeneratedFile[] {
  return files.filter(({ path, text }) => {
    try {
      return readFileSync(join(out, path), 'utf8') !== text;
    } catch {
      return true;
    }
  });
}
