import protobuf from 'protobufjs';

/** What a .proto file says of itself outside of its declarations; the parser keeps only parts. */
export interface FileHeader {
  /** Of a file without edition: `proto2` or `proto3`. */
  readonly syntax: string;
  /** `2023` */
  readonly edition: string | undefined;
  readonly package: string;
  readonly publicImports: ReadonlySet<string>;
  readonly weakImports: ReadonlySet<string>;
  /** Without custom ones, under the names of google.protobuf.FileOptions. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** Reads the statements at the top level of a file that has been parsed without an error. */
export function readHeader(text: string): FileHeader {
  const header = {
    syntax: 'proto2',
    edition: undefined as string | undefined,
    package: '',
    publicImports: new Set<string>(),
    weakImports: new Set<string>(),
    options: {} as Record<string, unknown>,
  };
  for (const [keyword, ...words] of statements(text)) {
    if (keyword === 'syntax') header.syntax = textOf(words.slice(1));
    else if (keyword === 'edition') header.edition = textOf(words.slice(1));
    else if (keyword === 'package') header.package = words.join('');
    else if (keyword === 'import' && words[0] === 'public') {
      header.publicImports.add(textOf(words.slice(1)));
    } else if (keyword === 'import' && words[0] === 'weak') {
      header.weakImports.add(textOf(words.slice(1)));
    } else if (keyword === 'option' && words[1] === '=') {
      setOption(header.options, words[0] as string, words.slice(2));
    }
  }
  return header;
}

/** The statements that end in a semicolon outside of all braces, each as its tokens. */
function* statements(text: string): Generator<string[]> {
  const { next } = protobuf.tokenize(text, false);
  let depth = 0;
  let words: string[] = [];
  for (let token = next(); token !== null; token = next()) {
    if (token === '{') {
      depth++;
    } else if (token === '}') {
      depth--;
      // The body of a declaration; that of an option's value is followed by a semicolon.
      if (depth === 0 && words[0] !== 'option') words = [];
    } else if (depth === 0 && token === ';') {
      yield words;
      words = [];
    } else if (depth === 0) {
      words.push(token);
    }
    // A string comes as its quote, its content, its quote; the content may look like anything.
    if (token === '"' || token === "'") {
      const [content, end] = [next() ?? '', next() ?? ''];
      if (depth === 0) words.push(content, end);
    }
  }
}

/** The text of string tokens: adjacent strings are one. */
function textOf(words: readonly string[]): string {
  return words.filter((_, index) => index % 3 === 1).join('');
}

/** `name` may be a path: `features.field_presence`. */
function setOption(options: Record<string, unknown>, name: string, words: readonly string[]): void {
  const first = words[0];
  if (first === undefined || name.startsWith('(')) return;
  const path = name.split('.');
  const last = path.pop() as string;
  let target = options;
  for (const key of path) {
    target[key] ??= {};
    target = target[key] as Record<string, unknown>;
  }
  if (first === '"' || first === "'") target[last] = textOf(words);
  else target[last] = first === 'true' ? true : first === 'false' ? false : first;
}
