import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readProto } from '../proto/source.js';
import { tokenize } from '../proto/token.js';
import { addToProto } from './edit-proto.js';

const read = (text: string) => readProto('a.proto', 'a.proto', text);
const STATEMENT = 'rpc New(A) returns (A);';

function addRpc(text: string): string {
  const [service] = read(text).outline.services;
  if (!service) throw new Error('no service');
  return addToProto(text, { rpc: { service, statement: STATEMENT }, declarations: [] });
}

describe('a statement goes behind the last one, as the others stand', () => {
  test.each([
    ['an empty service', 'service S {}', 'service S {\n  NEW\n}'],
    ['an empty one over two lines', 'service S {\n}\n', 'service S {\n  NEW\n}\n'],
    [
      'one line',
      'service S { rpc A(B) returns (C); }',
      'service S { rpc A(B) returns (C);\n  NEW\n}',
    ],
    [
      'tabs and CR LF',
      'service S {\r\n\trpc A(B) returns (C);\r\n}\r\n',
      'service S {\r\n\trpc A(B) returns (C);\r\n\tNEW\r\n}\r\n',
    ],
    [
      'four spaces',
      'service S {\n    rpc A(B) returns (C);\n}',
      'service S {\n    rpc A(B) returns (C);\n    NEW\n}',
    ],
    [
      'comments behind it',
      'service S {\n  rpc A(B) returns (C); // one\n  // two }\n}',
      'service S {\n  rpc A(B) returns (C); // one\n  // two }\n  NEW\n}',
    ],
    [
      'blank lines between them',
      'service S {\n  rpc A(B) returns (C);\n\n  rpc D(B) returns (C) {}\n}',
      'service S {\n  rpc A(B) returns (C);\n\n  rpc D(B) returns (C) {}\n\n  NEW\n}',
    ],
    ['a comment alone', 'service S { /* } */ }', 'service S { /* } */\n  NEW\n}'],
  ])('%s', (_, text, expected) => {
    expect(addRpc(text)).toBe(expected.replace('NEW', STATEMENT));
  });
});

test('declarations go to the end, in the indentation and with the line ends of the file', () => {
  const declarations = [['message A {', '  string a = 1;', '}']];
  expect(addToProto('message X {\r\n\tint32 x = 1;\r\n}', { declarations })).toBe(
    'message X {\r\n\tint32 x = 1;\r\n}\r\n\r\nmessage A {\r\n\tstring a = 1;\r\n}\r\n',
  );
  expect(addToProto('// the end', { declarations: [['message A {}']] })).toBe(
    '// the end\n\nmessage A {}\n',
  );
});

test('nothing that was there is lost or moved, and the result has what was added', () => {
  const blank = fc.constantFrom(
    '',
    ' ',
    '\n',
    '\r\n',
    '\t',
    '\n\n  ',
    ' // a } comment\n',
    '/* { */',
  );
  const rpc = fc.constantFrom(
    'rpc A(B) returns (C);',
    'rpc D(stream B) returns (C) {}',
    'option a = "}";',
  );
  const body = fc.array(fc.tuple(blank, rpc)).map((all) => all.flat().join(''));
  const file = fc.tuple(blank, body, blank, blank).map(([before, statements, inside, after]) => {
    return `${before}service S {${statements}${inside}}${after}message M {\n  int32 m = 1;\n}${after}`;
  });
  fc.assert(
    fc.property(file, (text) => {
      const { outline } = read(text);
      const [service] = outline.services;
      if (!service) throw new Error('no service');
      const declarations = [['message N {', '  string n = 1;', '}']];
      const edited = addToProto(text, { rpc: { service, statement: STATEMENT }, declarations });
      const after = read(edited);
      expect(after.diagnostics.filter(({ message }) => !message.includes('label'))).toEqual([]);
      const [found] = after.outline.services;
      expect(found?.methods.map(({ name }) => name.text)).toEqual([
        ...service.methods.map(({ name }) => name.text),
        'New',
      ]);
      expect(after.outline.messages.map(({ name }) => name.text)).toEqual(['M', 'N']);
      // What was there is still there, in order: only the blanks before a brace may have changed.
      const kept = (all: string) =>
        tokenize(all)
          .filter(({ kind }) => kind !== 'whitespace')
          .map((token) => token.text);
      const [old, now] = [kept(text), kept(edited)];
      const added = [...kept(STATEMENT), ...kept('message N { string n = 1; }')];
      expect(now.length).toBe(old.length + added.length);
      let at = 0;
      for (const token of now) if (token === old[at]) at++;
      expect(at).toBe(old.length);
      // Up to where the statement goes, byte for byte.
      const place = edited.indexOf(STATEMENT);
      expect(text.startsWith(edited.slice(0, place).trimEnd())).toBe(true);
    }),
    { numRuns: 1000 },
  );
});
