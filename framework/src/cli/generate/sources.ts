import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve, sep } from 'node:path';
import protobuf from 'protobufjs';
import { type Diagnostic, diagnosticAt, type Range } from '../proto/diagnostic.js';
import { link } from '../proto/link.js';
import type { Import } from '../proto/outline.js';
import { type ProtoSource, readProto } from '../proto/source.js';
import { GenerateError } from './generate-error.js';
import { checkRestrictions } from './restrictions.js';

/** A .proto file that has been read. */
export interface Source extends ProtoSource {
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
 *
 * @param drafts texts of files by absolute path, which count as if they had been written
 * @throws GenerateError with all that is wrong in any of them
 */
export function readSources(
  inputs: readonly string[],
  importPaths: readonly string[],
  drafts: ReadonlyMap<string, string> = new Map(),
): Sources {
  const files = findAll(inputs, drafts);
  const searched = inputs.filter((input) => isFolder(input) || holdsDraft(input, drafts));
  const folders = [...searched, ...importPaths].map((folder) => resolve(folder));
  const roots = rootsOf(files, folders);
  const reader = new SourceReader(roots, drafts);
  const asked = new Set<string>();
  for (const file of files) {
    const root = rootOf(file, folders);
    const path = relative(root, file).split(sep).join('/');
    if (WELL_KNOWN_FILES.includes(path)) continue;
    asked.add(path);
    reader.read(path, undefined);
  }
  const { byPath } = reader;
  const askedSources = [...asked].flatMap((path) => byPath.get(path) ?? []);
  const diagnostics = [
    ...reader.diagnostics,
    ...link(byPath, shippedTypes()),
    ...askedSources.flatMap(checkRestrictions),
  ];
  if (diagnostics.length > 0) throw new GenerateError(diagnostics);
  return { root: parseAll(byPath), byPath, asked: [...asked].sort() };
}

/** What has to be watched to see every change of what `readSources` reads. */
export function watchedPaths(inputs: readonly string[], importPaths: readonly string[]): string[] {
  const folders = [...inputs.filter(isFolder), ...importPaths].map((folder) => resolve(folder));
  return [
    ...new Set([
      ...inputs,
      ...rootsOf(
        inputs.filter(isFile).map((file) => resolve(file)),
        folders,
      ),
    ]),
  ];
}

function rootsOf(files: readonly string[], folders: readonly string[]): string[] {
  return [...new Set([...folders, ...files.map((file) => rootOf(file, folders))])];
}

/** The well-known files alone, as if they had been asked for. */
export function readWellKnown(): Sources {
  const reader = new SourceReader([], new Map());
  for (const path of WELL_KNOWN_FILES) reader.read(path, undefined);
  return { root: parseAll(reader.byPath), byPath: reader.byPath, asked: WELL_KNOWN_FILES };
}

class SourceReader {
  readonly byPath = new Map<string, Source>();
  readonly diagnostics: Diagnostic[] = [];
  /** The import path of each file that was read. */
  private readonly paths = new Map<string, string>();
  private readonly roots: readonly string[];
  private readonly drafts: ReadonlyMap<string, string>;

  constructor(roots: readonly string[], drafts: ReadonlyMap<string, string>) {
    this.roots = roots;
    this.drafts = drafts;
  }

  /** Reads the file of that import path, and what it imports, once. */
  read(path: string, importer: { source: Source; at: Range } | undefined): void {
    if (this.byPath.has(path)) return;
    if (WELL_KNOWN_FILES.includes(path)) {
      const source = readProto(path, path, declarationsOf(path));
      this.byPath.set(path, { ...source, text: '', imports: [] });
      return;
    }
    const file = this.find(path);
    if (!file) {
      this.diagnostics.push(notFound(path, importer, this.roots));
      return;
    }
    const other = this.paths.get(file);
    if (other !== undefined) {
      this.diagnostics.push(importedTwice(path, other, importer));
      return;
    }
    this.paths.set(file, path);
    const shown = relative('', file) || file;
    const text = this.drafts.get(file) ?? readFileSync(file, 'utf8');
    const proto = readProto(path, shown, text);
    const { imports } = proto.outline;
    const source = { ...proto, imports: importsOf(imports) };
    this.diagnostics.push(...proto.diagnostics);
    this.byPath.set(path, source);
    for (const { path: at } of imports) this.read(at.text, { source, at });
  }

  private find(path: string): string | undefined {
    for (const root of this.roots) {
      const file = join(root, path);
      if (this.drafts.has(file) || isFile(file)) return file;
    }
    const shipped = join(dirname(require.resolve('protobufjs/package.json')), path);
    return path.startsWith('google/') && isFile(shipped) ? shipped : undefined;
  }
}

/** The regular ones first, as the parser has them. */
function importsOf(imports: readonly Import[]): string[] {
  const pathsOf = (weak: boolean): string[] =>
    imports.filter(({ modifier }) => (modifier === 'weak') === weak).map(({ path }) => path.text);
  return [...pathsOf(false), ...pathsOf(true)];
}

const require = createRequire(import.meta.url);

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** The .proto files that the inputs are or hold. */
function findAll(inputs: readonly string[], drafts: ReadonlyMap<string, string>): string[] {
  const wrong: Diagnostic[] = [];
  const files = inputs.flatMap((input) => {
    const added = [...drafts.keys()].filter((file) => file.startsWith(resolve(input) + sep));
    if (!existsSync(input) && added.length === 0) {
      const remedy = 'name a .proto file or a folder that holds some with --proto';
      wrong.push({ message: `${input} does not exist; ${remedy}` });
      return [];
    }
    const found = existsSync(input) ? findFiles(input) : [];
    const all = [...new Set([...found, ...added])];
    if (all.length === 0) wrong.push({ message: `${input} holds no .proto file` });
    return all;
  });
  if (wrong.length > 0) throw new GenerateError(wrong);
  return files;
}

function holdsDraft(folder: string, drafts: ReadonlyMap<string, string>): boolean {
  return [...drafts.keys()].some((file) => file.startsWith(resolve(folder) + sep));
}

function findFiles(input: string): string[] {
  if (!isFolder(input)) return [resolve(input)];
  return readdirSync(input, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.proto'))
    .filter((name) => !name.split(sep).includes('node_modules'))
    .map((name) => resolve(input, name))
    .sort();
}

/**
 * The folder from which a file is imported. Of those that were given, the one from which its package
 * is its path, `protos` for `protos/a/b/c.proto` of package `a.b`; or else the innermost. If none was
 * given for it, the one from which its package is its path; or else its own.
 */
function rootOf(file: string, folders: readonly string[]): string {
  const folder = dirname(file);
  const text = statSync(file, { throwIfNoEntry: false })?.isFile()
    ? readFileSync(file, 'utf8')
    : '';
  const packageName = /^\s*package\s+([\w.]+)\s*;/m.exec(text)?.[1];
  const suffix = packageName && sep + packageName.split('.').join(sep);
  const byPackage = suffix && folder.endsWith(suffix) ? folder.slice(0, -suffix.length) : undefined;
  const given = folders.filter((one) => file.startsWith(one + sep));
  if (given.length === 0) return byPackage ?? folder;
  if (byPackage !== undefined && given.includes(byPackage)) return byPackage;
  return given.sort((x, y) => y.length - x.length)[0] as string;
}

/** Gives the files, in which nothing is wrong, to the parser whose model the generator works on. */
function parseAll(byPath: ReadonlyMap<string, Source>): protobuf.Root {
  const root = new protobuf.Root();
  for (const source of byPath.values()) {
    if (!WELL_KNOWN_FILES.includes(source.path)) parse(source, root);
    else root.addJSON(wellKnownNamespace(source.path));
  }
  return root;
}

function parse({ text, path, file }: Source, root: protobuf.Root): void {
  // The parser keeps the name with each declaration; its types do not mention the property.
  const parser = protobuf.parse as typeof protobuf.parse & { filename: string | null };
  parser.filename = path;
  try {
    protobuf.parse(text, root, { keepCase: true, alternateCommentMode: true });
  } catch (error) {
    // Something that only this parser refuses; it names lines at most.
    const raw = error instanceof Error ? error.message : String(error);
    const line = Number(/line (\d+)\)/.exec(raw)?.[1] ?? Number.NaN);
    const message = raw.replace(/ \([^()]*line \d+\)/, '');
    const place = Number.isNaN(line) ? {} : { line };
    throw new GenerateError([{ file, ...place, message }]);
  } finally {
    parser.filename = null;
  }
}

function wellKnownNamespace(path: string): Record<string, protobuf.AnyNestedObject> {
  return protobuf.common.get(path)?.nested ?? {};
}

/** What a well-known file declares; the parser brings the file as data. */
function declarationsOf(path: string): string {
  const statements = wellKnownTypes(path).map(([name, declared]) =>
    'values' in declared
      ? `enum ${name} { ${name.toUpperCase()}_VALUE = 0; }`
      : `message ${name} {}`,
  );
  return ['syntax = "proto3";', 'package google.protobuf;', ...statements].join('\n');
}

function wellKnownTypes(path: string): [string, object][] {
  const { google } = wellKnownNamespace(path) as {
    google: { nested: { protobuf: { nested: Record<string, object> } } };
  };
  return Object.entries(google.nested.protobuf.nested);
}

/** The well-known types by name, each with the path of its file. */
function shippedTypes(): Map<string, string> {
  return new Map(
    WELL_KNOWN_FILES.flatMap((path) =>
      wellKnownTypes(path).map(([name]): [string, string] => [`google.protobuf.${name}`, path]),
    ),
  );
}

/** The place of the first match in the file. */
export function placeOf(source: Source | undefined, pattern: RegExp): Omit<Diagnostic, 'message'> {
  if (!source) return {};
  const { file, lines, text } = source;
  const match = pattern.exec(text);
  if (!match) return { file };
  const { message: _, ...place } = diagnosticAt(file, lines, {
    start: match.index,
    end: match.index + match[0].length,
    message: '',
  });
  return place;
}

/** Read twice, everything in it would be declared twice. */
function importedTwice(
  path: string,
  other: string,
  importer: { source: Source; at: Range } | undefined,
): Diagnostic {
  const message = `${path} is the file that is ${other} elsewhere; import it by one path only, and give the folder from which that path leads to it with --proto or --import-path`;
  if (!importer) return { message };
  const { source, at } = importer;
  return diagnosticAt(source.file, source.lines, { start: at.start, end: at.end, message });
}

function notFound(
  path: string,
  importer: { source: Source; at: Range } | undefined,
  roots: readonly string[],
): Diagnostic {
  const looked = roots.map((root) => relative('', root) || '.').join(', ');
  const message = `${path} is in none of the folders ${looked}; add the folder that holds it with --import-path`;
  if (!importer) return { message };
  const { source, at } = importer;
  return diagnosticAt(source.file, source.lines, { start: at.start, end: at.end, message });
}
