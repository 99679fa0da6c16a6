import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve, sep } from 'node:path';
import protobuf from 'protobufjs';
import { GenerateError, type Place } from './generate-error.js';

/** A .proto file that has been read and parsed. */
export interface Source {
  /** As other files import it. */
  readonly path: string;
  /** As the user would open it. */
  readonly file: string;
  readonly text: string;
  readonly imports: readonly string[];
}

/** All files that were asked for and all that they import, in one namespace. */
export interface Sources {
  readonly root: protobuf.Root;
  /** By import path. */
  readonly byPath: ReadonlyMap<string, Source>;
  /** The import paths of those that were asked for, sorted. */
  readonly asked: readonly string[];
}

/** The files whose types are shipped in `millrace/codec`. */
export const WELL_KNOWN_FILES: readonly string[] = [
  'any',
  'duration',
  'empty',
  'field_mask',
  'struct',
  'timestamp',
  'wrappers',
].map((name) => `google/protobuf/${name}.proto`);

/**
 * Reads the files, those in the folders, and everything they import. An import is looked for in the
 * folders that were given, then in `importPaths`, then among the files of Google's that come with
 * the parser.
 */
export function readSources(inputs: readonly string[], importPaths: readonly string[]): Sources {
  const files = inputs.flatMap(findFiles);
  const folders = [...inputs.filter(isFolder), ...importPaths].map((folder) => resolve(folder));
  const roots = [...new Set([...folders, ...files.map((file) => rootOf(file, folders))])];
  const reader = new SourceReader(roots);
  const asked = new Set<string>();
  for (const file of files) {
    const root = rootOf(file, folders);
    const path = relative(root, file).split(sep).join('/');
    if (WELL_KNOWN_FILES.includes(path)) continue;
    asked.add(path);
    reader.read(path, undefined);
  }
  return { root: reader.root, byPath: reader.byPath, asked: [...asked].sort() };
}

/** The well-known files alone, as if they had been asked for. */
export function readWellKnown(): Sources {
  const reader = new SourceReader([]);
  for (const path of WELL_KNOWN_FILES) reader.read(path, undefined);
  return { root: reader.root, byPath: reader.byPath, asked: WELL_KNOWN_FILES };
}

class SourceReader {
  readonly root = new protobuf.Root();
  readonly byPath = new Map<string, Source>();
  private readonly roots: readonly string[];

  constructor(roots: readonly string[]) {
    this.roots = roots;
  }

  /** Parses the file of that import path, and what it imports, once. */
  read(path: string, importer: Source | undefined): void {
    if (this.byPath.has(path)) return;
    if (WELL_KNOWN_FILES.includes(path)) {
      this.byPath.set(path, { path, file: path, text: '', imports: [] });
      const { nested } = protobuf.common.get(path) as protobuf.INamespace;
      if (nested) this.root.addJSON(nested);
      return;
    }
    const file = this.find(path);
    if (!file) throw notFound(path, importer, this.roots);
    const text = readFileSync(file, 'utf8');
    const shown = relative('', file) || file;
    const imports = parse(text, path, shown, this.root);
    const source = { path, file: shown, text, imports };
    this.byPath.set(path, source);
    for (const imported of imports) this.read(imported, source);
  }

  private find(path: string): string | undefined {
    for (const root of this.roots) {
      const file = join(root, path);
      if (existsSync(file)) return file;
    }
    const shipped = join(dirname(require.resolve('protobufjs/package.json')), path);
    return path.startsWith('google/') && existsSync(shipped) ? shipped : undefined;
  }
}

const require = createRequire(import.meta.url);

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function findFiles(input: string): string[] {
  if (!existsSync(input)) {
    throw new GenerateError(
      undefined,
      `${input} does not exist; name a .proto file or a folder that holds some with --proto`,
    );
  }
  if (!isFolder(input)) return [resolve(input)];
  const files = readdirSync(input, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.proto'))
    .filter((name) => !name.split(sep).includes('node_modules'))
    .map((name) => resolve(input, name))
    .sort();
  if (files.length === 0) throw new GenerateError(undefined, `${input} holds no .proto file`);
  return files;
}

/**
 * The folder from which a file is imported: the innermost that was given; or else the one from which
 * its package is its path, `protos` for `protos/a/b/c.proto` of package `a.b`; or else its own.
 */
function rootOf(file: string, folders: readonly string[]): string {
  const given = folders.filter((folder) => file.startsWith(folder + sep));
  const innermost = given.sort((a, b) => b.length - a.length)[0];
  if (innermost !== undefined) return innermost;
  const folder = dirname(file);
  const packageName = /^\s*package\s+([\w.]+)\s*;/m.exec(readFileSync(file, 'utf8'))?.[1];
  const suffix = packageName && sep + packageName.split('.').join(sep);
  return suffix && folder.endsWith(suffix) ? folder.slice(0, -suffix.length) : folder;
}

/** Adds the file's declarations to `root` and returns what it imports. */
function parse(text: string, path: string, file: string, root: protobuf.Root): string[] {
  // The parser keeps the name with each declaration; its types do not mention the property.
  const parser = protobuf.parse as typeof protobuf.parse & { filename: string | null };
  parser.filename = path;
  try {
    const parsed = protobuf.parse(text, root, { keepCase: true, alternateCommentMode: true });
    return [...(parsed.imports ?? []), ...(parsed.weakImports ?? [])];
  } catch (error) {
    throw parseFailure(error, text, file);
  } finally {
    parser.filename = null;
  }
}

/** The parser's error, with a column where its message names the token, and a sentence for it. */
function parseFailure(error: unknown, text: string, file: string): GenerateError {
  const raw = error instanceof Error ? error.message : String(error);
  const lineNumber = Number(/line (\d+)\)/.exec(raw)?.[1] ?? Number.NaN);
  const said = raw.replace(/ \([^()]*line \d+\)/, '');
  if (Number.isNaN(lineNumber)) {
    const reason = `${said}; rename one, or give it another number`;
    return new GenerateError(placeOfDuplicate(said, text, file), reason);
  }
  const token = /'(.*?)'/.exec(said)?.[1] ?? '';
  if (token === 'null') {
    const expected = /'([^']*)' expected/.exec(said)?.[1];
    const reason = `the file ends inside a declaration${expected ? `, '${expected}' is missing` : ''}`;
    return new GenerateError({ file, line: lineNumber }, reason);
  }
  const column = (text.split('\n')[lineNumber - 1] ?? '').indexOf(token) + 1;
  const place = { file, line: lineNumber, column: column > 0 ? column : undefined };
  const reason = said.startsWith('illegal')
    ? `${said.replace('illegal', 'unexpected')}; the .proto syntax is described at https://protobuf.dev/reference/protobuf/proto3-spec/`
    : said;
  return new GenerateError(place, reason);
}

function placeOfDuplicate(said: string, text: string, file: string): Place {
  const name = /duplicate name '(\w+)'/.exec(said)?.[1];
  const number = /(?:duplicate id|id) (\d+)/.exec(said)?.[1];
  const container = /in (?:Type|Enum|Service) (\w+)/.exec(said)?.[1];
  const from = container
    ? text.search(new RegExp(`\\b(?:message|enum|service)\\s+${container}\\b`))
    : 0;
  const pattern = name ? `\\b${name}\\b` : `=\\s*${number ?? '\\d+'}\\b`;
  const matches = [...text.slice(Math.max(from, 0)).matchAll(new RegExp(pattern, 'g'))];
  const match = matches[1] ?? matches[0];
  return match ? placeAt(text, file, Math.max(from, 0) + match.index) : { file };
}

/** The place of the first match in the file. */
export function placeOf(source: Source | undefined, pattern: RegExp): Place | undefined {
  if (!source) return undefined;
  const index = source.text.search(pattern);
  return index < 0 ? { file: source.file } : placeAt(source.text, source.file, index);
}

function placeAt(text: string, file: string, index: number): Place {
  const before = text.slice(0, index).split('\n');
  return { file, line: before.length, column: (before.at(-1) ?? '').length + 1 };
}

function notFound(
  path: string,
  importer: Source | undefined,
  roots: readonly string[],
): GenerateError {
  const place = placeOf(importer, new RegExp(`["']${path.replace(/[^\w/]/g, '\\$&')}["']`));
  const looked = roots.map((root) => relative('', root) || '.').join(', ');
  return new GenerateError(
    place,
    `${path} is in none of the folders ${looked}; add the folder that holds it with --import-path`,
  );
}
