/** A place in a text, both counted from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** A JSON value; each part says at which index of the text it begins, and a number keeps its digits. */
export type JsonNode = { readonly at: number } & (
  | { readonly kind: 'object'; readonly members: ReadonlyMap<string, JsonNode> }
  | { readonly kind: 'array'; readonly items: readonly JsonNode[] }
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'plain'; readonly value: string | boolean | null }
);

/** A text that is no JSON. */
export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError';
  readonly place: Place;
  /** The field in which it is: `items[2].price`; empty at the top. */
  readonly path: string;

  constructor(reason: string, place: Place, path: string) {
    super(reason);
    this.place = place;
    this.path = path;
  }
}

const NESTED_MOST = 200;

/**
 * Parses one JSON value (RFC 8259), with nothing but white space around it. Unlike JSON.parse it says
 * where things are, refuses a name that is given twice, and loses no digit.
 *
 * @param start where the text begins in what the user wrote
 * @throws JsonSyntaxError
 */
export function parseJson(text: string, start: Place = { line: 1, column: 1 }): JsonNode {
  return new Parser(text, start).parse();
}

class Parser {
  readonly #text: string;
  readonly #start: Place;
  #at = 0;
  /** The steps to the value that is being parsed. */
  readonly #path: string[] = [];

  constructor(text: string, start: Place) {
    this.#text = text;
    this.#start = start;
  }

  parse(): JsonNode {
    this.#space();
    const value = this.#value();
    this.#space();
    if (this.#at < this.#text.length) this.#fail('expected the end', this.#at);
    return value;
  }

  #value(): JsonNode {
    const at = this.#at;
    const first = this.#text[at];
    if (this.#path.length > NESTED_MOST) this.#fail(`nested deeper than ${NESTED_MOST}`, at);
    if (first === '{') return this.#object(at);
    if (first === '[') return this.#array(at);
    if (first === '"') return { kind: 'plain', value: this.#string(), at };
    const word = /[^\s,:\]}{["]*/y;
    word.lastIndex = at;
    const [token = ''] = word.exec(this.#text) ?? [];
    const literal = literals.get(token);
    if (literal !== undefined) {
      this.#at += token.length;
      return { kind: 'plain', value: literal.value, at };
    }
    if (/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(token)) {
      this.#at += token.length;
      return { kind: 'number', text: token, at };
    }
    return this.#fail(`expected a value, ${token === '' ? this.#found(at) : `found ${token}`}`, at);
  }

  #object(at: number): JsonNode {
    const members = new Map<string, JsonNode>();
    this.#at++;
    for (this.#space(); this.#text[this.#at] !== '}'; ) {
      const named = this.#at;
      if (this.#text[named] !== '"') {
        const why = members.size === 0 ? 'a name in quotes or }' : 'a name in quotes';
        this.#fail(`expected ${why}, ${this.#found(named)}`, named);
      }
      const name = this.#string();
      this.#path.push(this.#path.length === 0 ? name : `.${name}`);
      if (members.has(name)) this.#fail('the name is given twice', named);
      this.#space();
      if (this.#text[this.#at] !== ':')
        this.#fail(`expected :, ${this.#found(this.#at)}`, this.#at);
      this.#at++;
      this.#space();
      members.set(name, this.#value());
      this.#path.pop();
      this.#space();
      if (!this.#more('}')) break;
    }
    this.#at++;
    return { kind: 'object', members, at };
  }

  #array(at: number): JsonNode {
    const items: JsonNode[] = [];
    this.#at++;
    for (this.#space(); this.#text[this.#at] !== ']'; ) {
      this.#path.push(`[${items.length}]`);
      items.push(this.#value());
      this.#path.pop();
      this.#space();
      if (!this.#more(']')) break;
    }
    this.#at++;
    return { kind: 'array', items, at };
  }

  /** Whether a comma and another member follow, rather than the end. */
  #more(end: string): boolean {
    const next = this.#text[this.#at];
    if (next === end) return false;
    if (next !== ',') this.#fail(`expected , or ${end}, ${this.#found(this.#at)}`, this.#at);
    const comma = this.#at++;
    this.#space();
    if (this.#text[this.#at] === end) this.#fail(`nothing follows the comma but ${end}`, comma);
    return true;
  }

  #string(): string {
    const at = this.#at;
    const string = /"(?:[^"\\]|\\.)*"/sy;
    string.lastIndex = at;
    const [text] = string.exec(this.#text) ?? [];
    if (text === undefined) this.#fail('the closing quote is missing', at);
    this.#at = string.lastIndex;
    try {
      return JSON.parse(text) as string;
    } catch {
      return this.#badString(at);
    }
  }

  /** Finds what is wrong with the string at that index. */
  #badString(at: number): never {
    const escapeSequence = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
    let index = at + 1;
    while (this.#text.charCodeAt(index) >= 0x20) {
      if (this.#text[index] === '\\') {
        escapeSequence.lastIndex = index;
        if (!escapeSequence.test(this.#text)) {
          this.#fail(`${this.#text.slice(index, index + 2)} is no escape of JSON`, index);
        }
        index = escapeSequence.lastIndex;
      } else index++;
    }
    this.#fail('a control character in a string has to be escaped', index);
  }

  #space(): void {
    const space = /[ \t\r\n]*/y;
    space.lastIndex = this.#at;
    space.exec(this.#text);
    this.#at = space.lastIndex;
  }

  #found(at: number): string {
    const point = this.#text.codePointAt(at);
    return point === undefined ? 'found the end' : `found ${String.fromCodePoint(point)}`;
  }

  #fail(reason: string, at: number): never {
    throw new JsonSyntaxError(reason, placeIn(this.#text, at, this.#start), this.#path.join(''));
  }
}

const literals = new Map<string, { readonly value: boolean | null }>([
  ['true', { value: true }],
  ['false', { value: false }],
  ['null', { value: null }],
]);

/** Where `index` of a text is, if the text begins at `start`. */
export function placeIn(text: string, index: number, start: Place): Place {
  const before = text.slice(0, index);
  const lines = before.split('\n');
  const last = (lines.at(-1) ?? '').length;
  return lines.length === 1
    ? { line: start.line, column: start.column + last }
    : { line: start.line + lines.length - 1, column: last + 1 };
}
