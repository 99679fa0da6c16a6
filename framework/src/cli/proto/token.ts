/** What a token is. `invalid` is a character that no .proto file has, or a string or comment without end. */
export type TokenKind =
  | 'whitespace'
  | 'comment'
  | 'identifier'
  | 'number'
  | 'string'
  | 'symbol'
  | 'invalid';

/** A piece of a .proto file; all of them in a row are the file. */
export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  /** In UTF-16 code units from the beginning of the file. */
  readonly start: number;
  readonly end: number;
}

const PATTERNS: readonly (readonly [TokenKind, RegExp])[] = [
  // A byte order mark may begin a file.
  ['whitespace', /[ \t\n\r\v\f\uFEFF]+/y],
  ['comment', /\/\/[^\n\r]*/y],
  ['identifier', /[A-Za-z_]\w*/y],
  // Everything that a number could be meant to be; the parser looks at what is in it.
  ['number', /\.?[0-9](?:[eE][+-]|[\w.])*/y],
  ['symbol', /[;={}[\]()<>,.:/+-]/y],
];

/** Splits a .proto file into tokens without losing anything: joined, their texts are `text`. */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  for (let start = 0; start < text.length; ) {
    const [kind, end] = tokenAt(text, start);
    tokens.push({ kind, text: text.slice(start, end), start, end });
    start = end;
  }
  return tokens;
}

function tokenAt(text: string, start: number): [TokenKind, number] {
  const character = text[start];
  if (character === '"' || character === "'") return stringAt(text, start, character);
  if (text.startsWith('/*', start)) {
    const end = text.indexOf('*/', start + 2);
    return end < 0 ? ['invalid', text.length] : ['comment', end + 2];
  }
  for (const [kind, pattern] of PATTERNS) {
    pattern.lastIndex = start;
    if (pattern.test(text)) return [kind, pattern.lastIndex];
  }
  return ['invalid', start + String.fromCodePoint(text.codePointAt(start) as number).length];
}

/** A string ends on its line. */
function stringAt(text: string, start: number, quote: string): [TokenKind, number] {
  for (let at = start + 1; at < text.length; at++) {
    const character = text[at];
    if (character === quote) return ['string', at + 1];
    if (character === '\n' || character === '\r') return ['invalid', at];
    if (character === '\\' && text[at + 1] !== '\n' && text[at + 1] !== '\r') at++;
  }
  return ['invalid', text.length];
}

/** Whether the parser looks at the token. */
export function isSignificant({ kind }: Token): boolean {
  return kind !== 'whitespace' && kind !== 'comment';
}
