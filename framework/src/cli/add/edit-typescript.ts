import { type CodeToken, scanTypeScript } from './scan-typescript.js';
import { applyEdits, type Edit, indentAt, indented, indentUnitOf, lineEndOf } from './text-edit.js';

/**
 * Adds a handler to `service(Name, { … })`, if it is not there. Undefined if there is not exactly one
 * such call, or if the file cannot be read for sure.
 *
 * @param property the name of the handler
 * @param handler its lines, indented by two spaces, without the comma behind them
 */
export function addHandler(
  text: string,
  serviceName: string,
  property: string,
  handler: readonly string[],
): string | undefined {
  const tokens = scanTypeScript(text);
  const opening = tokens && handlersOf(tokens, serviceName);
  if (!tokens || opening === undefined) return undefined;
  const close = (tokens[opening] as CodeToken).partner as number;
  const present = tokens.slice(opening, close).some(({ text: word }, index, inside) => {
    return word === property && /^[(:,]$/.test(inside[index + 1]?.text ?? '');
  });
  if (present) return text;
  return checked(applyEdits(text, appendTo(text, tokens, opening, handler)));
}

/** Whether the file makes the service: `service(Name, { … })`. */
export function makesService(text: string, serviceName: string): boolean {
  const tokens = scanTypeScript(text);
  return tokens !== undefined && handlersOf(tokens, serviceName) !== undefined;
}

/**
 * Adds a name to `services = [ … ]`, and its import. Undefined if there is not exactly one such
 * array, if the file has the name already, or if it cannot be read for sure.
 */
export function addToServices(text: string, name: string, specifier: string): string | undefined {
  const tokens = scanTypeScript(text);
  const opening = tokens && servicesOf(tokens);
  if (!tokens || opening === undefined) return undefined;
  if (tokens.some((token) => token.text === name)) return undefined;
  const edits = [
    ...appendTo(text, tokens, opening, [name]),
    importEdit(text, tokens, name, specifier),
  ];
  return checked(applyEdits(text, edits));
}

/** An edit after which the brackets do not match any more would be a wrong one. */
function checked(text: string): string | undefined {
  return scanTypeScript(text) ? text : undefined;
}

/** The index of the brace behind `service(Name,`, if there is one only. */
function handlersOf(tokens: readonly CodeToken[], name: string): number | undefined {
  return theOnly(tokens, (index) => {
    const [call, open, first, comma, brace] = tokens.slice(index, index + 5).map((t) => t.text);
    const found =
      call === 'service' && open === '(' && first === name && comma === ',' && brace === '{';
    return found && tokens[index - 1]?.text !== '.' ? index + 4 : undefined;
  });
}

/** The index of the bracket of `const services = [`, with or without a type. */
function servicesOf(tokens: readonly CodeToken[]): number | undefined {
  return theOnly(tokens, (index) => {
    if (tokens[index]?.text !== 'const' || tokens[index + 1]?.text !== 'services') return undefined;
    const equals = tokens.findIndex(({ text }, at) => at > index && /^[=;]$/.test(text));
    const opening = equals + 1;
    return tokens[equals]?.text === '=' && tokens[opening]?.text === '[' ? opening : undefined;
  });
}

function theOnly(
  tokens: readonly CodeToken[],
  look: (index: number) => number | undefined,
): number | undefined {
  const found = tokens.flatMap((_, index) => look(index) ?? []);
  return found.length === 1 ? found[0] : undefined;
}

/** Appends an entry, over one line or several, to an object or an array literal. */
function appendTo(
  text: string,
  tokens: readonly CodeToken[],
  opening: number,
  entry: readonly string[],
): Edit[] {
  const open = tokens[opening] as CodeToken;
  const close = tokens[open.partner as number] as CodeToken;
  const last = tokens[(open.partner as number) - 1] as CodeToken;
  const lineEnd = lineEndOf(text);
  const empty = last === open;
  const comma = empty || last.text === ',' ? '' : ',';
  const inline = entry.length === 1 && !/[\r\n]/.test(text.slice(open.start, close.end));
  if (inline) {
    const separator = empty ? '' : `${comma} `;
    const trailing = !empty && comma === '' ? ',' : '';
    return [{ start: last.end, end: last.end, text: `${separator}${entry[0]}${trailing}` }];
  }
  const outer = indentAt(text, close.start);
  const unit = indentUnitOf(text);
  const first = tokens[opening + 1] as CodeToken;
  const ownLine = !empty && /[\r\n]/.test(text.slice(open.end, first.start));
  const indent = ownLine ? indentAt(text, first.start) : outer + unit;
  const lines = entry.map((line) =>
    line.replace(/^(?: {2})+/, (blanks) => unit.repeat(blanks.length / 2)),
  );
  const body = `${indented(lines, indent, lineEnd)},`;
  // Behind what ends the last entry's line, which may be a comment.
  const at = lastContentEnd(text, last.end, close.start);
  const closed = /[\r\n]/.test(text.slice(at, close.start));
  const apart = !empty && entry.length > 1 ? lineEnd : '';
  const closing = closed ? '' : `${lineEnd}${outer}`;
  const end = closed ? at : close.start;
  const added = `${lineEnd}${apart}${body}${closing}`;
  if (at === last.end) return [{ start: at, end, text: comma + added }];
  const edits = [{ start: at, end, text: added }];
  return comma === '' ? edits : [{ start: last.end, end: last.end, text: comma }, ...edits];
}

/** Where the blanks before `end` begin. */
function lastContentEnd(text: string, from: number, end: number): number {
  return from + text.slice(from, end).trimEnd().length;
}

/** Imports a name: in order among its neighbours, or behind the last import. */
function importEdit(
  text: string,
  tokens: readonly CodeToken[],
  name: string,
  specifier: string,
): Edit {
  const imports = importsOf(tokens);
  const quote = imports[0]?.quote ?? "'";
  const semicolon = imports.length === 0 || imports.some(({ ended }) => ended) ? ';' : '';
  const line = `import { ${name} } from ${quote}${specifier}${quote}${semicolon}`;
  const lineEnd = lineEndOf(text);
  const folder = specifier.slice(0, specifier.lastIndexOf('/') + 1);
  const neighbours = imports.filter((one) => one.specifier.startsWith(folder));
  const next = neighbours.find((one) => one.specifier > specifier);
  if (next) return { start: next.start, end: next.start, text: `${line}${lineEnd}` };
  const last = neighbours.at(-1) ?? imports.at(-1);
  if (last) {
    // Behind a comment in the same line, too.
    const end = last.end + (/^[ \t]*(?:\/\/[^\r\n]*)?/.exec(text.slice(last.end))?.[0].length ?? 0);
    return { start: end, end, text: `${lineEnd}${line}` };
  }
  const start = tokens[0]?.start ?? text.length;
  return { start, end: start, text: `${line}${lineEnd}${lineEnd}` };
}

interface ImportStatement {
  readonly start: number;
  readonly end: number;
  readonly specifier: string;
  readonly quote: string;
  readonly ended: boolean;
}

/** The statements `import … from '…'` and `import '…'` at the beginning of the file. */
function importsOf(tokens: readonly CodeToken[]): ImportStatement[] {
  const found: ImportStatement[] = [];
  for (let index = 0; tokens[index]?.text === 'import'; ) {
    const start = (tokens[index] as CodeToken).start;
    const at = tokens.findIndex(({ kind }, position) => position > index && kind === 'text');
    const module = tokens[at];
    if (!module) break;
    const next = tokens[at + 1];
    const ended = next?.text === ';';
    found.push({
      start,
      end: ended ? next.end : module.end,
      specifier: module.text.slice(1, -1),
      quote: module.text[0] as string,
      ended,
    });
    index = at + (ended ? 2 : 1);
  }
  return found;
}
