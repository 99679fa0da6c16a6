/**
 * A pretty-printer for documents that know where they may break, after Wadler's "A prettier printer"
 * with the conditional breaks that code formatters use: what it prints is what Biome would print.
 *
 * A string is printed as it is and holds no newline.
 */
export type Doc = string | readonly Doc[] | Group | Indent | Line | Alternatives;

interface Group {
  readonly kind: 'group';
  readonly content: Doc;
  /** Breaks even if it would fit, since a hard line is inside. */
  readonly broken: boolean;
}

interface Indent {
  readonly kind: 'indent';
  readonly content: Doc;
}

interface Line {
  readonly kind: 'line';
  /** What stands in place of the newline in a group that fits; undefined: it never fits. */
  readonly flat: string | undefined;
}

interface Alternatives {
  readonly kind: 'if-broken';
  readonly broken: string;
  readonly flat: string;
}

/** A space, or a newline where the group around it does not fit. */
export const line: Doc = { kind: 'line', flat: ' ' };
/** Nothing, or a newline where the group around it does not fit. */
export const softLine: Doc = { kind: 'line', flat: '' };
/** Always a newline; the groups around it break. */
export const hardLine: Doc = { kind: 'line', flat: undefined };

/** Printed on one line if it fits, or else with a newline at each of its own lines. */
export function group(...content: readonly Doc[]): Doc {
  return { kind: 'group', content, broken: content.some(breaks) };
}

/** Lines inside are indented by two more spaces. */
export function indent(...content: readonly Doc[]): Doc {
  return { kind: 'indent', content };
}

/** One of the two, by whether the group around it is broken. */
export function ifBroken(broken: string, flat = ''): Doc {
  return { kind: 'if-broken', broken, flat };
}

export function join(separator: Doc, parts: readonly Doc[]): Doc {
  return parts.flatMap((part, index) => (index === 0 ? [part] : [separator, part]));
}

/** The lines, each on its own. */
export function lines(...parts: readonly Doc[]): Doc {
  return join(hardLine, parts);
}

/** `{`, the lines indented, `}`. */
export function block(...parts: readonly Doc[]): Doc {
  return ['{', indent(hardLine, lines(...parts)), hardLine, '}'];
}

/** `open`, the comma-separated parts, `close`, on one line or one line each. */
export function list(open: string, parts: readonly Doc[], close: string, padding = softLine): Doc {
  if (parts.length === 0) return open + close;
  return group(open, indent(padding, join([',', line], parts)), ifBroken(','), padding, close);
}

/** An object literal, pattern or import clause. */
export function braces(parts: readonly Doc[]): Doc {
  return list('{', parts, '}', line);
}

export function call(callee: string, ...args: readonly Doc[]): Doc {
  return [callee, list('(', args, ')')];
}

/** `name: 'text'`, with the text on a line of its own if it does not fit. */
export function textProperty(name: string, literal: string): Doc {
  return group(name, ':', indent(line, literal));
}

/** `test ? whenTrue : whenFalse` */
export function conditional(test: string, whenTrue: string, whenFalse: string): Doc {
  return group(test, indent(line, '? ', whenTrue, line, ': ', whenFalse));
}

/** Type arguments, which take no trailing comma. */
export function typeArguments(callee: string, ...args: readonly Doc[]): Doc {
  return group(callee, '<', indent(softLine, join([',', line], args)), softLine, '>');
}

/** A union of types as it stands behind the colon of a declaration. */
export function union(types: readonly Doc[]): Doc {
  if (types.length === 1) return types[0] as Doc;
  const members = types.map((type) => indent(type));
  return group(indent(softLine, ifBroken('| '), join([line, '| '], members)));
}

/** Columns on a line. */
export const WIDTH = 100;

/** Prints the document, ending in a newline. */
export function print(doc: Doc, width = WIDTH): string {
  const out: string[] = [];
  let column = 0;
  const stack: Command[] = [{ doc, indentation: 0, broken: true }];
  for (;;) {
    const command = stack.pop();
    if (!command) break;
    const { doc, indentation, broken } = command;
    if (typeof doc === 'string') {
      out.push(doc);
      column += doc.length;
    } else if (isList(doc)) {
      for (const part of doc.toReversed()) stack.push({ doc: part, indentation, broken });
    } else if (doc.kind === 'indent') {
      stack.push({ doc: doc.content, indentation: indentation + 2, broken });
    } else if (doc.kind === 'group') {
      const flat = { doc: doc.content, indentation, broken: false };
      const fitting = !doc.broken && fits(flat, stack, width - column);
      stack.push(fitting ? flat : { ...flat, broken: true });
    } else if (doc.kind === 'if-broken') {
      stack.push({ doc: broken ? doc.broken : doc.flat, indentation, broken });
    } else if (!broken && doc.flat !== undefined) {
      out.push(doc.flat);
      column += doc.flat.length;
    } else {
      out.push(`\n${' '.repeat(indentation)}`);
      column = indentation;
    }
  }
  return `${out.join('').replace(/[ ]+$/gm, '').trimEnd()}\n`;
}

interface Command {
  readonly doc: Doc;
  readonly indentation: number;
  readonly broken: boolean;
}

/** Whether what follows fits until the first newline that is sure to come. */
function fits(next: Command, rest: readonly Command[], space: number): boolean {
  const stack: Command[] = [next];
  let restIndex = rest.length;
  let left = space;
  while (left >= 0) {
    const command = stack.pop() ?? rest[--restIndex];
    if (!command) return true;
    const { doc, indentation, broken } = command;
    if (typeof doc === 'string') {
      left -= doc.length;
    } else if (isList(doc)) {
      for (const part of doc.toReversed()) stack.push({ doc: part, indentation, broken });
    } else if (doc.kind === 'indent') {
      stack.push({ doc: doc.content, indentation, broken });
    } else if (doc.kind === 'group') {
      stack.push({ doc: doc.content, indentation, broken: doc.broken });
    } else if (doc.kind === 'if-broken') {
      left -= (broken ? doc.broken : doc.flat).length;
    } else if (broken || doc.flat === undefined) {
      return true;
    } else {
      left -= doc.flat.length;
    }
  }
  return false;
}

function breaks(doc: Doc): boolean {
  if (typeof doc === 'string') return false;
  if (isList(doc)) return doc.some(breaks);
  switch (doc.kind) {
    case 'group':
      return doc.broken;
    case 'indent':
      return breaks(doc.content);
    case 'line':
      return doc.flat === undefined;
    default:
      return false;
  }
}

function isList(doc: Doc): doc is readonly Doc[] {
  return Array.isArray(doc);
}
