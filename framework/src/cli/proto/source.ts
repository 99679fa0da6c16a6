import { check } from './check.js';
import { type Diagnostic, diagnosticAt } from './diagnostic.js';
import { Lines } from './lines.js';
import type { LinkedFile } from './link.js';
import { parse } from './parse.js';
import { tokenize } from './token.js';

/** What there is to know of a .proto file by itself. */
export interface ProtoSource extends LinkedFile {
  readonly text: string;
  readonly diagnostics: readonly Diagnostic[];
}

/**
 * Reads a .proto file: its outline, and everything that is wrong with it by itself.
 *
 * @param path as other files import it
 * @param file as the user would open it
 */
export function readProto(path: string, file: string, text: string): ProtoSource {
  const lines = new Lines(text);
  const { outline, faults } = parse(tokenize(text));
  const all = [...faults, ...check(outline, lines)];
  const diagnostics = all.map((fault) => diagnosticAt(file, lines, fault));
  return { path, file, text, lines, outline, diagnostics };
}
