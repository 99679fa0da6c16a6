import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { headline, sorted } from './diagnostic.js';
import type { Scope } from './outline.js';
import { protoText } from './proto.test-support.js';
import { readProto } from './source.js';

const read = (text: string) => readProto('a.proto', 'a.proto', text);

/** What is wrong, without the name of the file. */
const wrong = (text: string): string[] =>
  sorted(read(text).diagnostics).map((one) => headline(one).replace('a.proto:', ''));

const inMessage = (text: string) => wrong(`syntax = "proto3"; message A {\n${text}\n}`);

describe('the outline', () => {
  const text = `syntax = "proto3";
package a.b;
import public "c.proto";
option java_package = "x" "y";

message Outer {
  option deprecated = true;
  repeated .a.b.Outer.Inner list = 1 [json_name = "l", (custom).part = { a: [1, 2] b: "}" }];
  map<string, a.b.Kind> kinds = 2;
  oneof choice { string text = 0x3; Inner inner = 4; }
  reserved 10, 20 to max, "old";
  message Inner {}
}
enum Kind { option allow_alias = true; A = 0; B = -1 [deprecated = true]; }
service Things {
  rpc Get(Outer) returns (stream Outer.Inner) { option deprecated = true; }
  rpc Put(stream .a.b.Outer) returns (Outer);
}
`;
  const { outline, diagnostics } = read(text);
  const piece = ({ start, end }: { start: number; end: number }) => text.slice(start, end);

  test('says what is declared', () => {
    expect(diagnostics).toEqual([]);
    expect(outline).toMatchObject({ syntax: 'proto3', packageName: 'a.b', incomplete: false });
    expect(outline.imports).toMatchObject([{ path: { text: 'c.proto' }, modifier: 'public' }]);
    expect(outline.options).toMatchObject([{ name: { text: 'java_package' }, value: '"xy"' }]);
    const [outer] = outline.messages;
    expect(outer?.fields).toMatchObject([
      { name: { text: 'list' }, label: { text: 'repeated' }, type: { text: '.a.b.Outer.Inner' } },
      { name: { text: 'kinds' }, map: { key: { text: 'string' }, value: { text: 'a.b.Kind' } } },
      { name: { text: 'text' }, number: { value: 3 }, oneof: { name: { text: 'choice' } } },
      { name: { text: 'inner' }, number: { value: 4 }, type: { text: 'Inner' } },
    ]);
    expect(outer?.fields[0]?.options.map(({ name }) => name.text)).toEqual([
      'json_name',
      '(custom).part',
    ]);
    expect(outer?.reserved).toMatchObject([
      { from: 10, to: 10 },
      { from: 20, to: 536870911 },
      { name: 'old' },
    ]);
    expect(outline.enums[0]?.values.map(({ number }) => number?.value)).toEqual([0, -1]);
    expect(outline.services[0]?.methods).toMatchObject([
      { name: { text: 'Get' }, input: { stream: false }, output: { stream: true } },
      { name: { text: 'Put' }, input: { stream: true, type: { text: '.a.b.Outer' } } },
    ]);
  });

  test('says where it stands', () => {
    const [outer] = outline.messages;
    expect(piece(outline.header as never)).toBe('package a.b;');
    expect(piece(outline.imports[0]?.path as never)).toBe('"c.proto"');
    expect(piece(outer?.messages[0] as never)).toBe('message Inner {}');
    expect(piece(outer?.fields[1] as never)).toBe('map<string, a.b.Kind> kinds = 2;');
    expect(piece(outer?.fields[2]?.number as never)).toBe('0x3');
    expect(piece(outer?.oneofs[0] as never)).toMatch(/^oneof choice \{.*\}$/);
    expect(piece(outline.services[0]?.methods[1] as never)).toBe(
      'rpc Put(stream .a.b.Outer) returns (Outer);',
    );
    expect(piece(outline.services[0]?.body as never)).toMatch(/^\n {2}rpc Get.*Outer\);\n$/s);
  });

  test('keywords are names where names are expected', () => {
    const keywords = 'message enum service rpc option oneof map reserved stream returns to max';
    const fields = keywords.split(' ').map((word, index) => `string ${word} = ${index + 1};`);
    expect(inMessage(fields.join('\n'))).toEqual([]);
    expect(wrong('syntax="proto3";enum E { option = 0; reserved = 1; }')).toEqual([]);
  });

  test('proto2, groups, extensions and editions are read', () => {
    expect(
      wrong(`message A {
        optional group G = 1 { required int32 x = 1; }
        extensions 100 to 199, 1000 to max [verification = UNVERIFIED];
        extend A { optional string e = 100; }
      }
      extend A { repeated group H = 101 { optional int32 y = 1; } }`),
    ).toEqual([]);
    expect(
      wrong(`edition = "2024";
      import option "o.proto";
      option features = { enum_type: CLOSED };
      export message A { reserved foo, bar; local enum E { ONE = 1; } E e = 1; }`),
    ).toEqual([]);
  });
});

test('whatever the text is, reading ends, and every range lies in it', () => {
  fc.assert(
    fc.property(protoText, (text) => {
      const { outline, diagnostics } = read(text);
      const check = (scope: Scope) => {
        for (const { start, end, name } of [...scope.messages, ...scope.enums]) {
          expect(text.slice(name.start, name.end)).toBe(name.text);
          expect(start <= name.start && name.end <= end && end <= text.length).toBe(true);
        }
        for (const message of scope.messages) check(message);
      };
      check(outline);
      for (const { line, column } of diagnostics) {
        expect(line).toBeGreaterThan(0);
        expect(column).toBeGreaterThan(0);
      }
    }),
    { numRuns: 2000 },
  );
});

test('a statement that is broken hides no other', () => {
  expect(
    wrong(`syntax = "proto3";
message A {
  int32 a = ;
  int32 b = 1
  int32 c = 1;
  int32 = 4;
  message { int32 x = 1; }
  string d = 5 [deprecated];
}
message B { int32 a = 0; }
}
enum E { ONE = 1; }
message C {`),
  ).toEqual([
    "3:13: unexpected ';' where a number is expected",
    "4:14: ';' is missing behind '1'",
    '5:13: field c has the number 1, which field b (line 4) has; give it another number',
    "6:9: unexpected '=' where a name for the field is expected",
    "7:11: unexpected '{' where a name for the message is expected",
    "8:27: unexpected ']' where '=' is expected",
    '10:23: field a has the number 0; numbers go from 1 to 536870911 without 19000 to 19999',
    "11:1: there is no '{' that this '}' would close",
    '12:16: the first value of enum E must be zero; add one, such as E_UNSPECIFIED = 0',
    "13:11: the file ends where '}' to end message C is expected; this brace is not closed",
  ]);
});

describe('syntax errors', () => {
  test.each([
    ['syntax = "proto4";', '1:10: the syntax proto4 is not known; write "proto3" or "proto2"'],
    ['edition = "1999";', '1:11: the edition 1999 is not known; 2023, 2024, 2026 are'],
    ['package a; syntax = "proto3";', '1:12: syntax has to be the first statement'],
    ['package a; package b;', '1:20: the package is a already'],
    ['package .a;', '1:9: the package begins with no dot'],
    ['option a = 57true;', "1:12: '57true' is no number"],
    ['extend a . b {}', '1:8: write a.b in one piece, without blanks or comments'],
    ['import "a', '1:8: this string has no end; " ends it, in the same line'],
    ['/* never', "1:1: this comment has no end; '*/' ends it"],
    ['message A { # }', "1:13: '#' has no meaning in a .proto file"],
    ['struct A {}', "1:1: unexpected 'struct' where a declaration: message, enum, service"],
    ['service S { get(A); }', "1:13: unexpected 'get' where an rpc, such as"],
    ['service S { rpc A(B) return (C); }', "1:22: unexpected 'return' where 'returns' is expected"],
    ['option a = {b: [1};', "1:12: the file ends where '}' is expected"],
  ])('%s', (text, expected) => {
    const all = wrong(text);
    expect(all[0]).toContain(expected);
  });
});

describe('in a message', () => {
  const numbers = 'numbers go from 1 to 536870911 without 19000 to 19999';
  test.each([
    ['int32 a = 0;', `2:11: field a has the number 0; ${numbers}`],
    ['int32 a = 536870912;', `2:11: the number 536870912 is out of range; ${numbers}`],
    ['int32 a = -1;', `2:11: the number -1 is out of range; ${numbers}`],
    ['int32 a = 19000;', `2:11: field a has the number 19000; ${numbers}`],
    ['int32 a = 1.5;', '2:11: 1.5 is no integer'],
    ['int32 a = 08;', '2:11: 08 is no integer'],
    [
      'oneof o { int32 a = 1; } int32 b = 0x1;',
      '2:36: field b has the number 1, which field a (line 2) has; give it another number',
    ],
    ['reserved 1 to 4; int32 a = 3;', '2:28: field a has the number 3, which is reserved (line 2)'],
    ['reserved "a"; int32 a = 3;', '2:21: field a has a name that is reserved (line 2)'],
    ['reserved 1 to 4, 3;', '2:18: 3 overlaps with what line 2 takes'],
    ['reserved 4 to 1;', '2:10: the range ends before it begins'],
    ['reserved "a", "a";', '2:15: the name a is reserved already'],
    ['required int32 a = 1;', '2:1: proto3 has no required; take it away from field a'],
    ['int32 a = 1 [default = 2];', '2:14: proto3 has no default values; take that of field a away'],
    ['extensions 10;', '2:12: proto3 has no extension ranges; use google.protobuf.Any'],
    ['group G = 1 { int32 a = 1; }', '2:1: groups are for proto2 only; make field G a message'],
    ['oneof o {}', '2:7: oneof o has no field'],
    ['oneof o { repeated int32 a = 1; }', '2:11: a field of a oneof has no label'],
    ['oneof o { map<int32, int32> a = 1; }', '2:11: a map cannot be in a oneof'],
    ['repeated map<int32, int32> a = 1;', '2:1: a map has no label; take repeated away'],
    ['map<double, int32> a = 1;', '2:5: the keys of field a cannot be double'],
    ['enum E {}', '2:6: enum E has no value'],
    [
      'enum TwoWords { A = 1; }',
      '2:21: the first value of enum TwoWords must be zero; add one, such as TWO_WORDS_UNSPECIFIED = 0',
    ],
    [
      'enum E { A = 0; B = 0; }',
      '2:21: value B has the number 0, which A (line 2) has; give it another number, or set option allow_alias = true',
    ],
    [
      'enum E { A = 0; reserved 1, "C"; B = 1; }',
      '2:38: value B has the number 1, which is reserved',
    ],
    [
      'enum E { A = 2147483648; }',
      '2:14: the number 2147483648 is out of range; they go from -2147483648',
    ],
  ])('%s', (text, expected) => {
    const all = inMessage(text);
    expect(all).toHaveLength(1);
    expect(all[0]).toContain(expected);
  });

  test('what is allowed is not reported', () => {
    expect(inMessage('enum E { option allow_alias = true; A = 0; B = 0; }')).toEqual([]);
    expect(inMessage('optional int32 a = 536870911; int32 b = 18999; int32 c = 20000;')).toEqual(
      [],
    );
    expect(wrong('enum E { ONE = 1; }')).toEqual([]);
    expect(
      wrong('edition = "2023"; enum E { option features.enum_type = CLOSED; ONE = 1; }'),
    ).toEqual([]);
  });

  test('proto2 and editions have rules of their own', () => {
    expect(wrong('message A { int32 a = 1; }')).toEqual([
      '1:13: proto2 needs a label: put optional or repeated before field a',
    ]);
    expect(wrong('message A { extensions 5; optional int32 a = 5; }')[0]).toContain(
      'which is left to extensions (line 1)',
    );
    expect(wrong('edition = "2023"; message A { optional int32 a = 1; }')[0]).toContain(
      '1:31: editions have no optional; give field a features.field_presence instead',
    );
    expect(wrong('extend A { required int32 a = 1; }')).toEqual([
      '1:12: extension a cannot be required',
    ]);
  });
});
