// What TypeScript is told of the native module is checked in, and a build does not renew it: here it is
// compared with what Rust exports, by name, parameters and types.

import { expect, test } from 'vitest';
import { files, text } from './tree.js';

/** Types of Rust as they arrive in JavaScript. */
const TYPES: Readonly<Record<string, string>> = {
  '': 'void',
  '()': 'void',
  String: 'string',
  "&'static str": 'string',
  bool: 'boolean',
  i32: 'number',
  u32: 'number',
  f64: 'number',
  BigInt: 'bigint',
  '&[u8]': 'Uint8Array',
  "ArrayBuffer<'static>": 'ArrayBuffer',
  "Function<'_, (), ()>": '() => void',
};

function typeOf(rust: string): string {
  const [, outer, inner = ''] = /^(Result|Option|Vec)<(.+)>$/.exec(rust) ?? [];
  if (outer === 'Result') return typeOf(inner);
  if (outer === 'Option') return `${typeOf(inner)} | undefined | null`;
  if (outer === 'Vec') return `Array<${typeOf(inner)}>`;
  return TYPES[rust] ?? rust.replace(/^&/, '');
}

const camelCase = (name: string) =>
  name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** A list at its commas, but for those in brackets. */
function split(list: string): string[] {
  let depth = 0;
  const parts = [''];
  for (const character of list.replace(/\s+/g, ' ')) {
    if ('<([{'.includes(character)) depth++;
    if ('>)]}'.includes(character)) depth--;
    if (character === ',' && depth === 0) parts.push('');
    else parts[parts.length - 1] += character;
  }
  return parts.map((part) => part.trim()).filter((part) => part !== '');
}

/** What stands between the bracket at `start` and the one that closes it. */
function within(source: string, start: number): string {
  let depth = 0;
  for (let at = start; at < source.length; at++) {
    if ('([{'.includes(source[at]!)) depth++;
    if (')]}'.includes(source[at]!) && --depth === 0) return source.slice(start + 1, at);
  }
  throw new Error(`a bracket is not closed: ${source.slice(start, start + 40)}`);
}

/** `#[napi]`, or with something in brackets; other attributes; what follows. */
const EXPORT =
  /^( *)#\[napi(?:\((.*)\))?\]\n(?: *#\[.*\]\n)* *pub (struct|fn) (\w+)(?:<[^>(]*>)?/gm;

/** `Class.method(name: type): type`, sorted. */
function exportsOfRust(source: string): string[] {
  const classes = Array.from(source.matchAll(/^#\[napi\]\nimpl (\w+) \{/gm), (match) => {
    const start = match.index + match[0].length - 1;
    return { name: match[1]!, start, end: start + within(source, start).length };
  });
  return Array.from(source.matchAll(EXPORT)).flatMap((match) => {
    const [whole, , options = '', kind, name = ''] = match;
    if (options === 'module_exports') return [];
    const start = match.index + whole.length;
    if (kind === 'struct') {
      if (options !== 'object') return [`class ${name}`];
      return split(within(source, source.indexOf('{', start)).replaceAll(/#\[.*\]/g, '')).map(
        (field) => {
          const [, member = '', type = ''] = /^pub (\w+): (.+)$/.exec(field) ?? [];
          const [, optional] = /^Option<(.+)>$/.exec(type) ?? [];
          const mark = optional === undefined ? '' : '?';
          return `${name}.${camelCase(member)}${mark}: ${typeOf(optional ?? type)}`;
        },
      );
    }
    const list = within(source, start);
    const after = source.slice(start + list.length + 2);
    const returned = /^(?: -> ([^{]+?))? \{/.exec(after)?.[1] ?? '';
    const said = /ts_return_type = "(.+)"/.exec(options)?.[1];
    const type = said ?? typeOf(returned);
    const owner = classes.find(({ start: from, end }) => match.index > from && match.index < end);
    const path = owner === undefined ? '' : `${owner.name}.`;
    const parameters = split(list)
      .map(parameter)
      .filter((one) => one !== '');
    while (parameters.at(-1)?.endsWith(' | undefined | null')) {
      const last = parameters.pop()!;
      parameters.push(last.replace(/^(\w+):/, '$1?:').replace(/ \| undefined \| null$/, ''));
    }
    if (options === 'getter') return [`get ${path}${camelCase(name)}(): ${type}`];
    if (options === 'constructor') return [`${path}constructor(${parameters.join(', ')})`];
    return [`${path}${camelCase(name)}(${parameters.join(', ')}): ${type}`];
  });
}

/** `name: type`; nothing for what JavaScript does not give. */
function parameter(rust: string): string {
  const [, said, name = '', type = ''] =
    /^(?:#\[napi\(ts_arg_type = "(.+)"\)\] )?(\w+): (.+)$/.exec(rust) ?? [];
  if (name === '' || /^(&'?\w* ?)?Env$/.test(type)) return '';
  return `${camelCase(name)}: ${said ?? typeOf(type)}`;
}

function exportsOfTypes(source: string): string[] {
  const plain = source.replace(/\/\*.*?\*\//gs, '');
  const optional = (parameters: string) =>
    split(parameters)
      .map((one) => (one.includes('?: ') ? one.replace(/ \| undefined \| null$/, '') : one))
      .join(', ');
  const inner = Array.from(
    plain.matchAll(/^export declare class (\w+) \{(.*?)^\}/gms),
    ([, owner, body = '']) => [
      `class ${owner}`,
      ...Array.from(
        body.matchAll(/^ {2}(get )?(\w+)\((.*?)\)(: [^;]+)?;/gms),
        ([, get = '', name, parameters = '', type = '']) =>
          `${get}${owner}.${name}(${optional(parameters)})${type}`,
      ),
    ],
  );
  const objects = Array.from(
    plain.matchAll(/^export interface (\w+) \{(.*?)^\}/gms),
    ([, owner, body = '']) =>
      Array.from(body.matchAll(/^ {2}(\w+\??: [^;]+);/gm), ([, member]) => `${owner}.${member}`),
  );
  const functions = Array.from(
    plain.matchAll(/^export declare function (\w+)\((.*?)\)(: [^;]+);/gms),
    ([, name, parameters = '', type]) => `${name}(${optional(parameters)})${type}`,
  );
  return [...inner, ...objects, functions].flat();
}

const rust = files(/\.rs$/, 'native/crates/binding/src')
  .map((file) => text(file).replaceAll(/^\s*\/\/.*\n/gm, ''))
  .flatMap(exportsOfRust);

test('what Rust exports was understood', () => {
  expect(rust.length).toBeGreaterThan(80);
  expect(rust).toContain('NativeTopics.lookUp(topic: number): number');
});

test('binding.d.ts says what Rust exports; if not: npm run binding-types -w native', () => {
  expect(exportsOfTypes(text('native/binding.d.ts')).toSorted()).toEqual(rust.toSorted());
});

test('a change on either side is seen', () => {
  const function_ = (signature: string) => exportsOfRust(`#[napi]\npub fn ${signature} {\n}\n`);
  expect(function_('one_two(a_b: u32, c: Option<String>) -> Result<Vec<u32>>')).toEqual([
    'oneTwo(aB: number, c?: string): Array<number>',
  ]);
  expect(
    exportsOfTypes(
      'export declare function oneTwo(aB: number, c?: string | undefined | null): Array<number>;\n',
    ),
  ).toEqual(['oneTwo(aB: number, c?: string): Array<number>']);
});
