// The syntax of topics and patterns, and how patterns relate to each other.

/** Bounds on topics and patterns alike: bytes of UTF-8, dots included, and tokens. */
export interface SyntaxLimits {
  readonly topicBytes: number;
  readonly topicTokens: number;
}

/** White space and control characters, which no token may have: a broker would not carry them. */
const UNPRINTABLE = /[\s\p{Cc}]/u;

/** What is wrong with a topic, as a sentence with the remedy; `undefined` if nothing is. */
export function topicFault(topic: string, limits: SyntaxLimits): string | undefined {
  return fault('topic', topic, limits);
}

/** The same for a pattern. */
export function patternFault(pattern: string, limits: SyntaxLimits): string | undefined {
  return fault('pattern', pattern, limits);
}

function fault(
  what: 'topic' | 'pattern',
  text: string,
  { topicBytes, topicTokens }: SyntaxLimits,
): string | undefined {
  if (text === '') return `the ${what} is empty; give tokens separated by dots`;
  const bytes = Buffer.byteLength(text);
  if (bytes > topicBytes) {
    return `the ${what} has ${bytes} bytes, more than ${topicBytes}; shorten it, or raise limits.topicBytes`;
  }
  const tokens = text.split('.');
  if (tokens.length > topicTokens) {
    return `the ${what} has ${tokens.length} tokens, more than ${topicTokens}; leave some out, or raise limits.topicTokens`;
  }
  for (const [index, token] of tokens.entries()) {
    const wrong = tokenFault(what, token, index === tokens.length - 1);
    if (wrong !== undefined) return `token ${index + 1} of the ${what} ${wrong}`;
  }
  return undefined;
}

function tokenFault(what: 'topic' | 'pattern', token: string, isLast: boolean): string | undefined {
  if (token === '') return 'is empty; separate tokens by single dots';
  if (token.startsWith('$')) {
    return 'begins with $, which is kept for the system; choose another name';
  }
  if (UNPRINTABLE.test(token)) {
    return 'has white space or a control character; leave it out';
  }
  if (what === 'pattern' && (token === '*' || token === '>')) {
    if (token === '*' || isLast) return undefined;
    return 'is >, which has to be the last; use * for one token';
  }
  const wildcard = /[*>]/.exec(token)?.[0];
  if (wildcard === undefined) return undefined;
  return what === 'topic'
    ? `has ${wildcard}, which only patterns may have`
    : `has ${wildcard} beside other characters; it has to be a token of its own`;
}

/** Whether every topic that `inner` matches is matched by `outer`; `inner` may be a topic. */
export function covers(outer: string, inner: string): boolean {
  const wide = outer.split('.');
  const narrow = inner.split('.');
  for (const [index, token] of wide.entries()) {
    const other = narrow[index];
    if (other === undefined) return false;
    if (token === '>') return true;
    if (other === '>' || (token !== '*' && token !== other)) return false;
  }
  return wide.length === narrow.length;
}

/** Whether there is a topic that both match. */
export function overlap(one: string, other: string): boolean {
  const left = one.split('.');
  const right = other.split('.');
  for (let index = 0; ; index++) {
    const a = left[index];
    const b = right[index];
    if (a === undefined || b === undefined) return a === b;
    if (a === '>' || b === '>') return true;
    if (a !== '*' && b !== '*' && a !== b) return false;
  }
}
