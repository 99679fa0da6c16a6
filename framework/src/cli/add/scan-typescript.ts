/** A piece of TypeScript that matters here: comments and blanks are left out. */
export interface CodeToken {
  readonly kind: 'word' | 'text' | 'symbol';
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** For an opening bracket, the index of the token that closes it, and the other way round. */
  partner?: number;
}

const OPENING: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

/** Words behind which a slash begins a regular expression. */
const BEFORE_PATTERN = new Set(
  'return typeof instanceof in of new delete void throw case do else yield await'.split(' '),
);

/**
 * Splits TypeScript just far enough to find brackets that belong together. Undefined if that does
 * not work out: then nothing should be edited by machine.
 */
export function scanTypeScript(text: string): CodeToken[] | undefined {
  const tokens: CodeToken[] = [];
  const open: number[] = [];
  let at = 0;
  const push = (kind: CodeToken['kind'], end: number): void => {
    tokens.push({ kind, text: text.slice(at, end), start: at, end });
    at = end;
  };
  while (at < text.length) {
    const character = text[at] as string;
    const rest = text.slice(at, at + 2);
    if (/\s|\uFEFF/.test(character)) {
      at++;
    } else if (rest === '//' || (rest === '#!' && at === 0)) {
      at = endOf(text, at, /[\r\n]/g) ?? text.length;
    } else if (rest === '/*') {
      const end = text.indexOf('*/', at + 2);
      if (end < 0) return undefined;
      at = end + 2;
    } else if (/[\w$]/.test(character) || character > '\u007f') {
      push('word', endOf(text, at, /[^\w$\u0080-\uffff]/g) ?? text.length);
    } else if (character === '"' || character === "'") {
      const end = stringEnd(text, at);
      if (end === undefined) return undefined;
      push('text', end);
    } else if (character === '`') {
      const end = templateEnd(text, at);
      if (end === undefined) return undefined;
      push('text', end);
    } else if (character === '/' && beginsPattern(tokens.at(-1))) {
      const end = patternEnd(text, at);
      if (end === undefined) return undefined;
      push('text', end);
    } else {
      const index = tokens.length;
      push('symbol', at + 1);
      if (character in OPENING) {
        open.push(index);
      } else if (/[)\]}]/.test(character)) {
        const partner = open.pop();
        const opening = partner === undefined ? undefined : tokens[partner];
        if (!opening || OPENING[opening.text] !== character) return undefined;
        opening.partner = index;
        (tokens[index] as CodeToken).partner = partner as number;
      }
    }
  }
  return open.length === 0 ? tokens : undefined;
}

/** Whether a slash behind the token begins a regular expression; else it divides. */
function beginsPattern(previous: CodeToken | undefined): boolean {
  if (!previous) return true;
  if (previous.kind === 'word') return BEFORE_PATTERN.has(previous.text);
  return previous.kind === 'symbol' && !/[)\]}]/.test(previous.text);
}

function endOf(text: string, from: number, pattern: RegExp): number | undefined {
  pattern.lastIndex = from;
  return pattern.exec(text)?.index;
}

function stringEnd(text: string, start: number): number | undefined {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === text[start]) return at + 1;
    else if (text[at] === '\n') return undefined;
  }
  return undefined;
}

function templateEnd(text: string, start: number): number | undefined {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '`') return at + 1;
    // What is in it could be anything; such a file is for people to edit, unless it is plain.
    else if (text.startsWith('${', at)) {
      const end = /^\$\{[^{}`'"/]*\}/.exec(text.slice(at))?.[0].length;
      if (end === undefined) return undefined;
      at += end - 1;
    }
  }
  return undefined;
}

function patternEnd(text: string, start: number): number | undefined {
  let inClass = false;
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '\n') return undefined;
    else if (text[at] === '[') inClass = true;
    else if (text[at] === ']') inClass = false;
    else if (text[at] === '/' && !inClass) return at + 1;
  }
  return undefined;
}
