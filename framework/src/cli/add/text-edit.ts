/** A piece of a text that gives way to another; an insertion where both ends are one. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Applies edits that do not overlap. */
export function applyEdits(text: string, edits: readonly Edit[]): string {
  let result = text;
  for (const { start, end, text: piece } of [...edits].sort((a, b) => b.start - a.start)) {
    result = result.slice(0, start) + piece + result.slice(end);
  }
  return result;
}

/** What ends the lines of the text. */
export function lineEndOf(text: string): string {
  return text.includes('\r\n') ? '\r\n' : '\n';
}

/** The blanks with which the line at that place begins. */
export function indentAt(text: string, offset: number): string {
  const start =
    Math.max(text.lastIndexOf('\n', offset - 1), text.lastIndexOf('\r', offset - 1)) + 1;
  return /^[ \t]*/.exec(text.slice(start))?.[0] ?? '';
}

/** By how much the text indents: its first indentation, or two spaces. */
export function indentUnitOf(text: string): string {
  const first = /^(\t|[ ]+)(?=[^\s*])/m.exec(text)?.[1];
  return first ?? '  ';
}

/** The lines, each but the empty ones behind the indentation. */
export function indented(lines: readonly string[], indent: string, lineEnd: string): string {
  return lines.map((line) => (line === '' ? '' : indent + line)).join(lineEnd);
}
