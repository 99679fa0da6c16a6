import { expect, test } from 'vitest';
import { headline, sorted } from './diagnostic.js';
import { link } from './link.js';
import { readProto } from './source.js';

const SHIPPED = new Map([['google.protobuf.Timestamp', 'google/protobuf/timestamp.proto']]);

/** What is wrong between files, each of proto3. */
function wrong(files: Record<string, string>): string[] {
  const sources = Object.entries(files).map(([path, text]) => {
    const source = readProto(path, path, `syntax = "proto3";${text}`);
    return [path, source] as const;
  });
  return sorted(link(new Map(sources), SHIPPED)).map(headline);
}

test('types are found from the innermost scope outwards', () => {
  expect(
    wrong({
      'a.proto': `package p.q;
        message A { message B { A a = 1; B b = 2; C c = 3; q.A d = 4; .p.q.A e = 5; p.q.A.B f = 6; } }
        message C { A.B b = 1; map<string, A.B> m = 2; E e = 3; }
        enum E { ZERO = 0; }`,
    }),
  ).toEqual([]);
});

test('the first part of a name decides, as it does for protoc', () => {
  expect(
    wrong({
      'a.proto': 'package x.google; import "b.proto"; message A { google.protobuf.B b = 1; }',
      'b.proto': 'package google.protobuf; message B {}',
    }),
  ).toEqual([
    'a.proto:1:67: google.protobuf.B, the type of field b, is x.google.protobuf.B here, which is not declared; begin the name with a dot, .google.protobuf.B, to mean another',
  ]);
});

test('a type that is not declared', () => {
  const rpc = (type: string) => ({
    'a.proto': `message A {} service S { rpc Do(A) returns (${type}); }`,
  });
  expect(wrong(rpc('Nope'))).toEqual([
    'a.proto:1:63: Nope, a type of rpc Do, is not declared; is an import missing?',
  ]);
  expect(wrong(rpc('Timestamp'))[0]).toContain(
    'is not declared; is google.protobuf.Timestamp meant, of import "google/protobuf/timestamp.proto";?',
  );
  expect(wrong(rpc('google.protobuf.Timestamp'))[0]).toContain(
    'is declared in google/protobuf/timestamp.proto; add import "google/protobuf/timestamp.proto";',
  );
  expect(wrong({ ...rpc('B'), 'b.proto': 'package b; message B {}' })[0]).toContain(
    'is not declared; is b.B meant, of b.proto?',
  );
});

test('a type of a file that is not imported', () => {
  const files = {
    'a.proto': 'import "b.proto"; message A { C c = 1; }',
    'b.proto': 'import "c.proto";',
    'c.proto': 'message C {}',
  };
  expect(wrong(files)).toEqual([
    'a.proto:1:49: C, the type of field c, is declared in c.proto; add import "c.proto";',
  ]);
  expect(wrong({ ...files, 'b.proto': 'import public "c.proto";' })).toEqual([]);
});

test('while an import is missing or broken, unknown types are no news', () => {
  expect(wrong({ 'a.proto': 'import "gone.proto"; message A { B b = 1; }' })).toEqual([]);
  expect(
    wrong({ 'a.proto': 'import "b.proto"; message A { B b = 1; }', 'b.proto': 'message B' }),
  ).toEqual([]);
});

test('names declared twice', () => {
  expect(
    wrong({
      'a.proto': `package p;
message A { string b = 1; message b {} oneof A { int32 c = 2; } }
enum E { NONE = 0; }
enum F { NONE = 0; }
service S { rpc Do(A) returns (A); rpc Do(A) returns (A); }`,
      'b.proto': 'package p; message A { int32 x = 1; int32 x = 2; }',
    }),
  ).toEqual([
    'a.proto:2:35: message b is declared already, as field (line 2); rename one',
    'a.proto:4:10: value NONE is declared already (line 3); the values of all enums beside each other need different names: give them a prefix',
    'a.proto:5:40: rpc Do is declared already (line 5); rename one',
    'b.proto:1:38: message A is declared already (a.proto:2); rename one',
  ]);
});

test('what is no message', () => {
  expect(
    wrong({ 'a.proto': 'enum E { Z = 0; } message A {} service S { rpc Do(A) returns (E); }' }),
  ).toEqual(['a.proto:1:81: E, a type of rpc Do, is no message but an enum']);
});

test('extensions need a number that is left to them', () => {
  const [found] = wrong({
    'a.proto': 'import "b.proto"; extend B { string x = 5; }',
    'b.proto': 'message B {}',
  });
  expect(found).toBe(
    'a.proto:1:59: extension x has the number 5, which B does not leave to extensions',
  );
});

test('imports in a circle', () => {
  expect(
    wrong({
      'a.proto': 'import "b.proto";',
      'b.proto': 'import "c.proto";',
      'c.proto': 'import "a.proto"; import "c.proto";',
    }),
  ).toEqual([
    'c.proto:1:26: imports go in a circle: a.proto → b.proto → c.proto → a.proto',
    'c.proto:1:44: c.proto imports itself',
  ]);
});
