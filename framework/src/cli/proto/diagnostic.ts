import type { Lines } from './lines.js';

/** A piece of a text, in UTF-16 code units from its beginning; the end is not part of it. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Something that is wrong in a text. */
export interface Fault extends Range {
  readonly message: string;
}

/** Something that is wrong in a .proto file: where, what, and how to mend it. */
export interface Diagnostic {
  /** As the user would open it; absent for what concerns no file. */
  readonly file?: string;
  /** From 1. */
  readonly line?: number;
  /** From 1, in UTF-16 code units. */
  readonly column?: number;
  /** Where it ends, in the same line; the column behind the last character. */
  readonly endColumn?: number;
  readonly message: string;
  /** The line in which it stands. */
  readonly source?: string;
}

/** A fault with its place in a file. */
export function diagnosticAt(file: string, lines: Lines, fault: Fault): Diagnostic {
  const { start, end, message } = fault;
  const { line, column } = lines.positionOf(start);
  const source = lines.textOf(line);
  const last = Math.max(source.length + 1, column + 1);
  const endColumn = Math.min(Math.max(column + end - start, column + 1), last);
  return { file, line, column, endColumn, message, source };
}

/** By file and place; each once. */
export function sorted(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  const unique = new Map(diagnostics.map((one) => [headline(one), one]));
  return [...unique.values()].sort(
    (a, b) =>
      compare(a.file ?? '', b.file ?? '') ||
      (a.line ?? 0) - (b.line ?? 0) ||
      (a.column ?? 0) - (b.column ?? 0) ||
      compare(a.message, b.message),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** `file:line:column: message`, which editors and terminals turn into links. */
export function headline({ file, line, column, message }: Diagnostic): string {
  const place = [file, line, column].filter((part) => part !== undefined).join(':');
  return place === '' ? message : `${place}: ${message}`;
}

const SHOWN_COLUMNS = 120;

/** The headline, the line in which it stands, and a caret below the place. */
export function render(diagnostic: Diagnostic): string {
  const { line, column, endColumn, source } = diagnostic;
  const first = headline(diagnostic);
  if (line === undefined || column === undefined || source === undefined) return first;
  const number = String(line);
  // Of a long line, what stands around the place.
  const from = column > SHOWN_COLUMNS ? column - SHOWN_COLUMNS / 2 : 0;
  const shown = source.slice(from, from + SHOWN_COLUMNS);
  const before = source.slice(from, column - 1).replace(/[^\t]/g, ' ');
  const width = Math.min((endColumn ?? column + 1) - column, shown.length - before.length);
  const margin = ' '.repeat(number.length);
  return `${first}\n  ${number} | ${shown}\n  ${margin} | ${before}${'^'.repeat(Math.max(width, 1))}`;
}

/** What `--json` prints of it. */
export function toJson({ file, line, column, endColumn, message }: Diagnostic): object {
  return { file, line, column, endColumn, message };
}
