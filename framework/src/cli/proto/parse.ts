import type { Fault, Range } from './diagnostic.js';
import type {
  EnumNode,
  EnumValueNode,
  ExtendNode,
  FieldNode,
  Import,
  MessageNode,
  MethodNode,
  MethodType,
  Name,
  NumberNode,
  OneofNode,
  OptionNode,
  Outline,
  Reservation,
  ServiceNode,
} from './outline.js';
import { isSignificant, type Token } from './token.js';

/**
 * Reads what a file declares, by the grammar of proto2, proto3 and editions. After an
 * error it goes on with the next statement, so that all errors are found at once.
 */
export function parse(tokens: readonly Token[]): { outline: Outline; faults: Fault[] } {
  const parser = new Parser(tokens);
  return { outline: parser.file(), faults: parser.faults };
}

/** Those that the parser of the generator knows. */
const EDITIONS: readonly string[] = ['2023', '2024', '2026'];

/** The largest field number. */
export const FIELD_NUMBER_MAX = 536_870_911;
const ENUM_NUMBER_MAX = 2_147_483_647;

const NUMBER = /^(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?)$/;

/** Thrown inside a statement, caught where the next one begins. */
class Unexpected {}

/** What is inside of a message, an oneof or an `extend`; each takes what it may hold. */
interface Members {
  readonly fields: FieldNode[];
  readonly oneofs: OneofNode[];
  readonly messages: MessageNode[];
  readonly enums: EnumNode[];
  readonly extends: ExtendNode[];
  readonly reserved: Reservation[];
  readonly extensions: Reservation[];
  readonly options: OptionNode[];
}

class Parser {
  readonly faults: Fault[] = [];
  private readonly tokens: readonly Token[];
  private index = 0;
  private incomplete = false;
  private atEnd = false;
  private readonly end: Token;

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens.filter(isSignificant);
    const end = this.tokens.at(-1)?.end ?? 0;
    this.end = { kind: 'invalid', text: '', start: end, end };
  }

  file(): Outline {
    const members = noMembers();
    const imports: Import[] = [];
    const services: ServiceNode[] = [];
    let syntax: Outline['syntax'] | undefined;
    let packageName: Name | undefined;
    let header: Range | undefined;
    while (!this.done()) {
      this.statement(() => {
        const { start } = this.peek();
        const keyword = this.declarationKeyword();
        switch (keyword) {
          case 'syntax':
          case 'edition': {
            syntax = this.syntax(keyword);
            header = this.since(start);
            return;
          }
          case 'package': {
            this.next();
            const name = this.typeName('a package name');
            if (name.text.startsWith('.')) this.fault(name, 'the package begins with no dot');
            if (packageName) this.fault(name, `the package is ${packageName.text} already`);
            packageName ??= name;
            this.expectSemicolon();
            header = this.since(start);
            return;
          }
          case 'import':
            imports.push(this.import());
            return;
          case 'service':
            services.push(this.service());
            return;
          default:
            if (this.declaration(keyword, members)) return;
            if (keyword === 'option') members.options.push(this.option());
            else throw this.unexpected('a declaration: message, enum, service, import or option');
        }
      });
      if (this.peek().text === '}') {
        this.fault(this.next(), "there is no '{' that this '}' would close");
      }
    }
    return {
      syntax: syntax ?? 'proto2',
      packageName: packageName?.text ?? '',
      header,
      imports,
      services,
      messages: members.messages,
      enums: members.enums,
      extends: members.extends,
      options: members.options,
      incomplete: this.incomplete,
    };
  }

  private syntax(keyword: string): Outline['syntax'] {
    const late = this.index > 0;
    const first = this.next();
    if (late) this.fault(first, `${keyword} has to be the first statement, and there can be one`);
    this.expect('=');
    const value = this.string();
    this.expectSemicolon();
    if (keyword === 'edition') {
      if (!EDITIONS.includes(value.text)) {
        this.fault(value, `the edition ${value.text} is not known; ${EDITIONS.join(', ')} are`);
      }
      return 'editions';
    }
    if (value.text === 'proto2' || value.text === 'proto3') return value.text;
    this.fault(value, `the syntax ${value.text} is not known; write "proto3" or "proto2"`);
    return 'proto3';
  }

  private import(): Import {
    const { start } = this.next();
    const word = this.peek();
    let modifier: Import['modifier'];
    if (word.text === 'public' || word.text === 'weak' || word.text === 'option') {
      modifier = word.text;
      this.next();
    }
    const path = this.string();
    this.expectSemicolon();
    return { path, modifier, ...this.since(start) };
  }

  /** The keyword of a statement, which in edition 2024 may have a visibility before it. */
  private declarationKeyword(): string {
    const { text } = this.peek();
    if (text !== 'export' && text !== 'local') return text;
    const keyword = this.peek(1).text;
    const declares =
      (keyword === 'message' || keyword === 'enum') && this.peek(2).kind === 'identifier';
    return declares ? keyword : text;
  }

  /** Reads what may stand in files and in messages; false if it is something else. */
  private declaration(keyword: string, members: Members): boolean {
    switch (keyword) {
      case 'message':
        members.messages.push(this.message());
        return true;
      case 'enum':
        members.enums.push(this.enum());
        return true;
      case 'extend':
        members.extends.push(this.extend(members));
        return true;
      default:
        return false;
    }
  }

  private message(): MessageNode {
    const { start } = this.head();
    const name = this.declared('a name for the message');
    return this.messageBody(name, start);
  }

  private messageBody(name: Name, start: number): MessageNode {
    const members = noMembers();
    const body = this.block(`message ${name.text}`, () => this.member(members));
    return { kind: 'message', name, body, ...members, ...this.since(start) };
  }

  private member(members: Members): void {
    // A package may be called as a keyword is; protoc would then ask for a dot before it.
    const qualified = this.peek(1).text === '.' && this.peek().text !== 'extend';
    const keyword = qualified ? '' : this.declarationKeyword();
    if (this.declaration(keyword, members)) return;
    switch (keyword) {
      case 'option':
        members.options.push(this.option());
        return;
      case 'oneof':
        this.oneof(members);
        return;
      case 'extensions':
        this.next();
        this.reservations(members.extensions, FIELD_NUMBER_MAX);
        return;
      case 'reserved':
        this.next();
        this.reservations(members.reserved, FIELD_NUMBER_MAX);
        return;
      default:
        members.fields.push(this.field(members, undefined));
    }
  }

  private oneof(members: Members): void {
    const { start } = this.next();
    const name = this.declared('a name for the oneof');
    // Its fields name it, so it has to exist before them; its end is known afterwards.
    const oneof = { kind: 'oneof' as const, name, start, end: name.end, fieldCount: 0 };
    members.oneofs.push(oneof);
    this.block(`oneof ${name.text}`, () => {
      if (this.peek().text === 'option') {
        this.option();
      } else {
        oneof.fieldCount++;
        members.fields.push(this.field(members, oneof));
      }
    });
    oneof.end = this.since(start).end;
  }

  private extend(members: Members): ExtendNode {
    const { start } = this.next();
    const target = this.typeName('the message to extend');
    const fields: FieldNode[] = [];
    // The messages of groups belong to what is around.
    this.block(`extend ${target.text}`, () => fields.push(this.field(members, undefined)));
    return { target, fields, ...this.since(start) };
  }

  private field(members: Members, oneof: OneofNode | undefined): FieldNode {
    const first = this.peek();
    let label: Name | undefined;
    if (/^(?:optional|required|repeated)$/.test(first.text)) label = nameOf(this.next());
    const map = this.peek().text === 'map' && this.peek(1).text === '<' ? this.map() : undefined;
    const expected = label ? `a type behind ${label.text}` : 'a field, such as string name = 1;';
    const type = map ? map.type : this.typeName(expected, true);
    const name = this.declared('a name for the field');
    this.expect('=');
    const number = this.number(FIELD_NUMBER_MAX, 0);
    const options = this.peek().text === '[' ? this.fieldOptions() : [];
    let group: MessageNode | undefined;
    if (type.text === 'group' && this.peek().text === '{') {
      group = this.messageBody(name, first.start);
      members.messages.push(group);
    } else {
      this.expectSemicolon();
    }
    const place = this.since(first.start);
    return {
      kind: 'field',
      name,
      label,
      type,
      map: map && { key: map.key, value: map.value },
      group,
      number,
      oneof,
      options,
      ...place,
    };
  }

  private map(): { type: Name; key: Name; value: Name } {
    const word = this.next();
    this.expect('<');
    const key = this.typeName('the type of the keys');
    this.expect(',');
    const value = this.typeName('the type of the values');
    this.expect('>');
    return { type: { text: 'map', ...this.since(word.start) }, key, value };
  }

  private enum(): EnumNode {
    const { start } = this.head();
    const name = this.declared('a name for the enum');
    const values: EnumValueNode[] = [];
    const reserved: Reservation[] = [];
    const options: OptionNode[] = [];
    const body = this.block(`enum ${name.text}`, () => {
      const word = this.peek();
      if (word.text === 'option' && this.peek(1).text !== '=') {
        options.push(this.option());
      } else if (word.text === 'reserved' && this.peek(1).text !== '=') {
        this.next();
        this.reservations(reserved, ENUM_NUMBER_MAX);
      } else {
        this.enumValue(values);
      }
    });
    return { kind: 'enum', name, body, values, reserved, options, ...this.since(start) };
  }

  private enumValue(values: EnumValueNode[]): void {
    const { start } = this.peek();
    const name = this.declared('a value, such as COLOUR_RED = 1;');
    // It is there even if an error follows, so that the next one is not taken for the first.
    const value: { -readonly [K in keyof EnumValueNode]: EnumValueNode[K] } = {
      kind: 'value',
      name,
      number: undefined,
      start,
      end: name.end,
    };
    values.push(value);
    this.expect('=');
    value.number = this.number(ENUM_NUMBER_MAX, -ENUM_NUMBER_MAX - 1);
    if (this.peek().text === '[') this.fieldOptions();
    this.expectSemicolon();
    value.end = this.since(start).end;
  }

  private service(): ServiceNode {
    const { start } = this.next();
    const name = this.declared('a name for the service');
    const methods: MethodNode[] = [];
    const body = this.block(`service ${name.text}`, () => {
      const { text } = this.peek();
      if (text === 'option') this.option();
      else if (text === 'rpc') methods.push(this.method());
      else throw this.unexpected('an rpc, such as rpc Get(Request) returns (Reply);');
    });
    return { kind: 'service', name, body, methods, ...this.since(start) };
  }

  private method(): MethodNode {
    const { start } = this.next();
    const name = this.declared('a name for the rpc');
    const input = this.methodType();
    if (this.peek().text !== 'returns') throw this.unexpected("'returns'");
    this.next();
    const output = this.methodType();
    if (this.peek().text === '{') this.block(`rpc ${name.text}`, () => this.option());
    else this.expectSemicolon();
    return { kind: 'rpc', name, input, output, ...this.since(start) };
  }

  private methodType(): MethodType {
    this.expect('(');
    const stream = this.peek().text === 'stream' && this.peek(1).text !== ')';
    if (stream) this.next();
    const type = this.typeName('the type of a message');
    this.expect(')');
    return { type, stream };
  }

  private reservations(into: Reservation[], max: number): void {
    do {
      const token = this.peek();
      if (token.kind === 'string') {
        const { text: name, ...range } = this.string();
        into.push({ kind: 'name', name, ...range });
      } else if (token.kind === 'identifier') {
        this.next();
        into.push({ kind: 'name', name: token.text, start: token.start, end: token.end });
      } else {
        const lowest = max === ENUM_NUMBER_MAX ? -ENUM_NUMBER_MAX - 1 : 0;
        const first = this.number(max, lowest);
        let last = first;
        if (this.peek().text === 'to') {
          this.next();
          if (this.peek().text === 'max') last = { value: max, ...rangeOf(this.next()) };
          else last = this.number(max, lowest);
        }
        if (first && last) {
          const range = { start: first.start, end: last.end };
          if (last.value < first.value) this.fault(range, 'the range ends before it begins');
          into.push({ kind: 'numbers', from: first.value, to: last.value, ...range });
        }
      }
    } while (this.accept(','));
    if (this.peek().text === '[') this.fieldOptions();
    this.expectSemicolon();
  }

  /** `option name = value;` */
  private option(): OptionNode {
    if (this.peek().text !== 'option') throw this.unexpected("an option or '}'");
    const { start } = this.next();
    const { name, value } = this.assignment();
    this.expectSemicolon();
    return { name, value, ...this.since(start) };
  }

  /** `[name = value, …]` */
  private fieldOptions(): OptionNode[] {
    this.expect('[');
    const options = [];
    do options.push(this.assignment());
    while (this.accept(','));
    this.expect(']');
    return options;
  }

  private assignment(): OptionNode {
    const { start } = this.peek();
    const parts: string[] = [];
    do {
      if (this.accept('(')) {
        parts.push(`(${this.typeName('the name of an option').text})`);
        this.expect(')');
      } else {
        parts.push(this.identifier('the name of an option').text);
      }
    } while (this.accept('.'));
    const name = { text: parts.join('.'), ...this.since(start) };
    this.expect('=');
    const value = this.constant();
    return { name, value, ...this.since(start) };
  }

  private constant(): string {
    const token = this.peek();
    if (token.text === '{') return this.aggregate();
    if (token.kind === 'string') return JSON.stringify(this.string().text);
    const sign = token.text === '-' || token.text === '+' ? this.next().text : '';
    const word = this.peek();
    if (word.kind !== 'identifier' && word.kind !== 'number') throw this.unexpected('a value');
    this.next();
    if (word.kind === 'number' && !NUMBER.test(word.text)) {
      this.fault(word, `${quoted(word.text)} is no number`);
    }
    // protoc takes names of enum values only; parsers before it took paths.
    let value = sign + word.text;
    while (this.accept('.')) value += `.${this.identifier('a name').text}`;
    return value;
  }

  /** A message in text format: skipped, with its brackets in balance. */
  private aggregate(): string {
    const words: string[] = [];
    const open: Token[] = [];
    do {
      const token = this.next();
      if (token === this.end) throw this.unexpected("'}'", open[0]);
      if (token.kind === 'invalid') this.invalid(token);
      words.push(token.text);
      if (token.text === '{' || token.text === '[') open.push(token);
      else if (token.text === '}' || token.text === ']') open.pop();
    } while (open.length > 0);
    return words.join(' ');
  }

  /** A name, of one identifier. */
  private declared(expected: string): Name {
    return nameOf(this.identifier(expected));
  }

  private identifier(expected: string): Token {
    if (this.peek().kind !== 'identifier') throw this.unexpected(expected);
    return this.next();
  }

  /** `a.b.C` or `.a.b.C` */
  private typeName(expected: string, ofField = false): Name {
    const { start } = this.peek();
    let text = this.accept('.') ? '.' : '';
    text += this.identifier(expected).text;
    while (this.accept('.')) text += `.${this.identifier('the rest of the name').text}`;
    const range = this.since(start);
    // protoc takes them everywhere, the parser of the generator in the type of a field only.
    if (!ofField && range.end - range.start !== text.length) {
      this.fault(range, `write ${text} in one piece, without blanks or comments`);
    }
    return { text, ...range };
  }

  /** Strings beside each other are one. */
  private string(): Name {
    const { kind, start } = this.peek();
    if (kind !== 'string') throw this.unexpected('a string in quotes');
    let text = '';
    while (this.peek().kind === 'string') {
      text += this.next()
        .text.slice(1, -1)
        .replace(/\\(["'\\])/g, '$1');
    }
    return { text, ...this.since(start) };
  }

  /** An integer; one that is out of range is reported and has no value. */
  private number(max: number, min: number): NumberNode | undefined {
    const { start } = this.peek();
    const negative = this.accept('-');
    const token = this.peek();
    if (token.kind !== 'number') throw this.unexpected('a number');
    this.next();
    const range = this.since(start);
    const text = token.text;
    if (!/^(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.test(text)) {
      this.fault(range, `${text} is no integer`);
      return undefined;
    }
    const digits = /^0[0-7]+$/.test(text) ? `0o${text.slice(1)}` : text;
    const value = negative ? -Number(digits) || 0 : Number(digits);
    if (value > max || value < min) {
      const written = negative ? `-${text}` : text;
      const rule = min === 0 ? FIELD_NUMBERS : `they go from ${min} to ${max}`;
      this.fault(range, `the number ${written} is out of range; ${rule}`);
      return undefined;
    }
    return { value, ...range };
  }

  /** Runs `read` for each statement between braces. */
  private block(what: string, read: () => void): Range {
    const open = this.peek();
    if (open.text !== '{') throw this.unexpected("'{'");
    this.next();
    while (this.peek().text !== '}') {
      if (this.done()) throw this.unexpected(`'}' to end ${what}`, open);
      this.statement(read);
    }
    const close = this.next();
    return { start: open.end, end: close.start };
  }

  /** Reads a statement. After an error, skips what is left of it. */
  private statement(read: () => void): void {
    if (this.accept(';')) return;
    const first = this.index;
    try {
      read();
    } catch (error) {
      if (!(error instanceof Unexpected)) throw error;
      const keyword = this.tokens[first]?.text ?? '';
      if (/^(?:message|enum|service|extend|import|export|local)$/.test(keyword)) {
        this.incomplete = true;
      }
      this.recover(first);
    }
  }

  /** Skips to behind the next semicolon or block, or to before the brace that closes what is around. */
  private recover(first: number): void {
    // What has been read of it may have opened braces.
    let depth = 0;
    for (let at = first; at < this.index; at++) depth += depthOf(this.tokens[at] as Token);
    for (;;) {
      const token = this.peek();
      if (this.done() || (token.text === '}' && depth <= 0)) return;
      this.next();
      depth += depthOf(token);
      if (depth <= 0 && (token.text === ';' || token.text === '}')) return;
    }
  }

  /** Reports what stands here in place of what should. */
  private unexpected(expected: string, open?: Token): Unexpected {
    const token = this.peek();
    if (this.done()) {
      // Everything around it is not closed either; one error says it.
      if (!this.atEnd) {
        const what = open ? `; this brace is not closed` : '';
        this.fault(open ?? this.end, `the file ends where ${expected} is expected${what}`);
      }
      this.atEnd = true;
      this.incomplete = true;
    } else if (token.kind === 'invalid') {
      this.invalid(token);
    } else {
      this.fault(token, `unexpected ${quoted(token.text)} where ${expected} is expected`);
    }
    return new Unexpected();
  }

  private invalid(token: Token): void {
    if (token.text.startsWith('/*')) {
      this.fault(
        { start: token.start, end: token.start + 2 },
        "this comment has no end; '*/' ends it",
      );
      this.incomplete = true;
      this.atEnd = true;
    } else if (/^["']/.test(token.text)) {
      this.fault(token, `this string has no end; ${token.text[0]} ends it, in the same line`);
    } else {
      this.fault(token, `${quoted(token.text)} has no meaning in a .proto file`);
    }
  }

  private fault({ start, end }: Range, message: string): void {
    this.faults.push({ start, end, message });
  }

  /** Skips the keyword of a message or an enum, with the visibility before it. */
  private head(): Token {
    const first = this.next();
    if (first.text === 'export' || first.text === 'local') this.next();
    return first;
  }

  private expect(symbol: string): void {
    if (this.peek().text !== symbol) throw this.unexpected(`'${symbol}'`);
    this.next();
  }

  /** A semicolon that is missing at the end of a line spoils nothing of what follows. */
  private expectSemicolon(): void {
    const token = this.peek();
    if (this.accept(';')) return;
    const previous = this.tokens[this.index - 1];
    if (previous && !this.done() && token.kind !== 'invalid' && token.text !== '[') {
      const behind = { start: previous.end, end: previous.end };
      this.fault(behind, `';' is missing behind ${quoted(previous.text)}`);
      if (token.text === '}' || token.kind === 'identifier') return;
      throw new Unexpected();
    }
    throw this.unexpected("';'");
  }

  private peek(ahead = 0): Token {
    return this.tokens[this.index + ahead] ?? this.end;
  }

  private next(): Token {
    const token = this.peek();
    if (this.index < this.tokens.length) this.index++;
    return token;
  }

  private accept(symbol: string): boolean {
    if (this.peek().text !== symbol) return false;
    this.next();
    return true;
  }

  private done(): boolean {
    return this.index >= this.tokens.length;
  }

  /** From there to the end of what was read last. */
  private since(start: number): Range {
    return { start, end: this.tokens[this.index - 1]?.end ?? start };
  }
}

/** The sentence about them, wherever one is wrong. */
export const FIELD_NUMBERS = `numbers go from 1 to ${FIELD_NUMBER_MAX} without 19000 to 19999`;

function noMembers(): Members {
  return {
    fields: [],
    oneofs: [],
    messages: [],
    enums: [],
    extends: [],
    reserved: [],
    extensions: [],
    options: [],
  };
}

function nameOf({ text, start, end }: Token): Name {
  return { text, start, end };
}

function rangeOf({ start, end }: Token): Range {
  return { start, end };
}

function depthOf({ text }: Token): number {
  return text === '{' ? 1 : text === '}' ? -1 : 0;
}

function quoted(text: string): string {
  return text.includes("'") ? text : `'${text}'`;
}
