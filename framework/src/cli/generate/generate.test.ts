import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { tokenize } from '../proto/token.js';
import { generate } from './generate.js';
import { GenerateError } from './generate-error.js';
import { importGenerated, TEST_PROTOS } from './modules.test-support.js';
import { generateWellKnown } from './well-known.js';
import { write } from './write.js';

const require = createRequire(import.meta.url);
const framework = fileURLToPath(new URL('../../..', import.meta.url));

/** A new folder with these files in it; removed when the test ends. */
function folder(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'millrace-generate-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

function generateOne(text: string): string {
  const [file] = generate({ proto: [folder({ 'a.proto': `syntax = "proto3";\n${text}` })] });
  return file?.text ?? '';
}

/** The message of the error, with the folder taken out of its paths. */
function failure(files: Record<string, string>): string {
  const root = folder(files);
  try {
    generate({ proto: [root] });
  } catch (error) {
    expect(error).toBeInstanceOf(GenerateError);
    return (error as Error).message.replaceAll(/[^\s,]*millrace-generate-\w+\/?/g, '');
  }
  return 'no error';
}

describe('the modules', () => {
  test('of a small file', async () => {
    const text = generateOne(`
// All about greeting.
package greet.v1;

// How loud.
enum Volume {
  VOLUME_UNSPECIFIED = 0;
  VOLUME_LOUD = 1; // heard from afar
}

// A greeting.
message Greeting {
  string text = 1;
  Volume volume = 2;
  optional uint64 count = 3;
  repeated Greeting replies = 4;
  map<string, int32> marks = 5;
  // Who it is for.
  oneof recipient {
    string name = 6;
    // Its number.
    uint32 room = 7;
  }
}

// Greets.
service Greeter {
  // Says it.
  rpc SayHello(Greeting) returns (stream Greeting);
}
`);
    await expect(text).toMatchFileSnapshot('../../../test/codegen/greet.snapshot.ts');
  });

  test('are the same each time', () => {
    const files = generate({ proto: [TEST_PROTOS] });
    expect(generate({ proto: [TEST_PROTOS] })).toEqual(files);
    expect(files.map(({ path }) => path)).toEqual([
      'millrace/test/v1/deep/deep.ts',
      'millrace/test/v1/reserved.ts',
      'millrace/test/v1/rich.ts',
      'millrace/test/v1/shared.ts',
    ]);
  });

  test('are formatted as Biome would', () => {
    const biome = join(dirname(require.resolve('@biomejs/biome/package.json')), 'bin', 'biome');
    const texts = [
      ...generate({ proto: [TEST_PROTOS] }).map(({ text }) => text),
      generateWellKnown(),
    ];
    for (const text of texts) {
      const formatted = execFileSync(
        process.execPath,
        [biome, 'format', '--stdin-file-path=module.ts'],
        { input: text, cwd: framework, encoding: 'utf8' },
      );
      expect(text).toBe(formatted);
    }
  }, 30_000);

  test('type-check under the strictest options', () => {
    const out = folder({
      'package.json': '{ "type": "module" }',
      'gen/use.ts': USE,
      'tsconfig.json': JSON.stringify({
        compilerOptions: {
          target: 'es2022',
          module: 'nodenext',
          strict: true,
          exactOptionalPropertyTypes: true,
          noUncheckedIndexedAccess: true,
          noPropertyAccessFromIndexSignature: true,
          noUnusedLocals: true,
          noUnusedParameters: true,
          noImplicitReturns: true,
          noImplicitOverride: true,
          noFallthroughCasesInSwitch: true,
          allowUnreachableCode: false,
          isolatedModules: true,
          verbatimModuleSyntax: true,
          erasableSyntaxOnly: true,
          noEmit: true,
          types: ['node'],
          typeRoots: [join(dirname(require.resolve('@types/node/package.json')), '..')],
          paths: { 'millrace/codec': [join(framework, 'src/codec/index.ts')] },
        },
        include: ['gen'],
      }),
    });
    write(generate({ proto: [TEST_PROTOS] }), join(out, 'gen'));
    const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc');
    const run = (): string => {
      try {
        return execFileSync(process.execPath, [tsc, '-p', out], { encoding: 'utf8' });
      } catch (error) {
        return String((error as { stdout: unknown }).stdout);
      }
    };
    expect(run()).toBe('');
  }, 60_000);

  test('of the well-known types are those in the codec runtime', async () => {
    await expect(generateWellKnown()).toMatchFileSnapshot('../../codec/well-known.gen.ts');
  });

  test('load, and describe their services', async () => {
    const { Rich, Scalars, Tree } = await importGenerated('millrace/test/v1/rich.ts');
    const { Empty } = await import('../../codec/index.js');
    expect(Rich).toMatchObject({
      typeName: 'millrace.test.v1.Rich',
      methods: {
        getOne: {
          name: 'GetOne',
          path: '/millrace.test.v1.Rich/GetOne',
          kind: 'unary',
          input: Scalars,
          output: Tree,
        },
        getMany: { name: 'get_many', kind: 'server-streaming' },
        httpPut: { name: 'HTTPPut', kind: 'client-streaming', output: Empty },
        talk: { name: 'Talk', kind: 'bidi' },
      },
    });
    const reserved = await importGenerated('millrace/test/v1/reserved.ts');
    expect(Object.keys((reserved['delete$'] as unknown as { methods: object }).methods)).toEqual([
      'constructor$',
      'then$',
      'delete',
    ]);
  });

  test('keep to the names that the language leaves', async () => {
    const module = await importGenerated('millrace/test/v1/reserved.ts');
    expect(Object.keys(module)).toEqual(
      expect.arrayContaining(['Map$', 'Array$', 'Object$', 'Uint8Array$', 'codec$', 'enum$']),
    );
  });

  test('carry comments over, which cannot end theirs', () => {
    const text = generateOne(
      '/* Ends */\nmessage A {\n  // it */ here\n  // twice\n  int32 a = 1;\n}',
    );
    expect(text).toContain('/** Ends */\nexport interface A {');
    expect(text).toContain('   * it *\\/ here\n   * twice\n   */\n  a: number;');
  });

  test('of proto2 and of editions keep their presence and packing', () => {
    const proto2 = `syntax = "proto2";
message A {
  optional int32 a = 1 [default = 5];
  repeated int32 b = 2;
  repeated int32 c = 3 [packed = true];
  required string d = 4;
  extensions 100 to max;
}
extend A { optional string e = 100; }`;
    const edition = `edition = "2023";
message B {
  int32 a = 1;
  int32 b = 2 [features.field_presence = IMPLICIT];
  repeated int32 c = 3 [features.repeated_field_encoding = EXPANDED];
}`;
    const root = folder({ 'a.proto': proto2, 'b.proto': edition });
    const [a, b] = generate({ proto: [root] }).map(({ text }) => text);
    expect(a).toContain('a: number | undefined;');
    expect(a).toContain('writer.int32(16, item)');
    expect(a).toContain('writer.packedInt32(26, c)');
    expect(a).toContain('d: string | undefined;');
    expect(b).toContain('a: number | undefined;');
    expect(b).toContain('b: number;');
    expect(b).toContain('writer.int32(24, item)');
  });
});

const USE = `
import { Colour, Maps, Rich, Scalars, type ScalarsInit, Tree, type TreeInit } from './millrace/test/v1/rich.js';
import { type JsonValue, Timestamp, timestampFromDate, toBinary } from 'millrace/codec';

// What is received can be given.
const received: Tree = Tree.create({ choice: { case: 'at', value: timestampFromDate(new Date()) } });
const given: TreeInit = received;
toBinary(Tree, given);

// 64-bit fields take both, and come back as bigint.
const init: ScalarsInit = { aInt64: 1, aUint64: 1n, aColour: Colour.COLOUR_RED, aString: undefined };
const count: bigint = Scalars.create(init).aInt64;

// An enum is open.
const later: Colour = 99;

// A map is given as a Map or an object.
Maps.create({ labels: { a: 'b' }, byString: new Map([['a', { aBool: true }]]), byInt64: new Map([[1, new Uint8Array()]]) });

// A oneof is a union.
export function textOf({ choice }: Tree): string {
  if (!choice) return '';
  switch (choice.case) {
    case 'text':
      return choice.value;
    case 'number':
      return (choice.value + count + BigInt(later)).toString();
    case 'at':
      return JSON.stringify(Timestamp.toJson(choice.value) satisfies JsonValue);
    default:
      return choice.case;
  }
}

// @ts-expect-error: no such field
Scalars.create({ aInt33: 1 });
// @ts-expect-error: no such member
Tree.create({ choice: { case: 'other', value: 1 } });
// @ts-expect-error: the member's value is a string
Tree.create({ choice: { case: 'text', value: 1 } });
// @ts-expect-error: integer keys have no object form
Maps.create({ byInt32: { 1: 'a' } });

export const kind: 'bidi' = Rich.methods.talk.kind;
export const input: typeof Scalars = Rich.methods.getOne.input;
`;

describe('errors', () => {
  test.each<[string, string, string]>([
    [
      'a stray token',
      'message A { int32 a = ; }',
      "a.proto:2:23: unexpected ';' where a number is expected",
    ],
    [
      'a missing semicolon',
      'message A {\n  int32 a = 1\n}',
      "a.proto:3:14: ';' is missing behind '1'",
    ],
    [
      'an end too early',
      'message A { int32 a = 1;',
      "a.proto:2:11: the file ends where '}' to end message A is expected",
    ],
    [
      'an unknown type',
      'message A {\n  Nope a = 1;\n}',
      'a.proto:3:3: Nope, the type of field a, is not declared; is an import missing?',
    ],
    [
      'a number given twice',
      'message A { int32 a = 1; int32 b = 1; }',
      'a.proto:2:36: field b has the number 1, which field a (line 2) has; give it another number',
    ],
    [
      'a name given twice',
      'message A { int32 a = 1; int32 a = 2; }',
      'a.proto:2:32: field a is declared already (line 2); rename one',
    ],
    [
      'a number out of range',
      'message A { int32 a = 0; }',
      'a.proto:2:23: field a has the number 0; numbers go from 1 to 536870911 without 19000 to 19999',
    ],
    [
      'a reserved number',
      'message A { int32 a = 19500; }',
      'a.proto:2:23: field a has the number 19500',
    ],
    [
      'an enum without zero',
      'enum E { E_ONE = 1; }',
      'a.proto:2:18: the first value of enum E must be zero; add one, such as E_UNSPECIFIED = 0',
    ],
    [
      'fields that become one',
      'message A { int32 a_b = 1; int32 aB = 2; }',
      "a.proto:2:34: field a_b and field aB of A both become the property 'aB'; rename one",
    ],
    [
      'a field and a oneof that become one',
      'message A { int32 a_b = 1; oneof aB { int32 c = 2; } }',
      "a.proto:2:34: field a_b and oneof aB of A both become the property 'aB'; rename one",
    ],
    [
      'types that become one',
      'message A_B {}\nmessage A { message B {} }',
      "a.proto:3:21: A_B and A.B both become 'A_B'; rename one",
    ],
    [
      'rpcs that become one',
      'message A {}\nservice S { rpc DoIt(A) returns (A); rpc do_it(A) returns (A); }',
      "a.proto:3:42: rpc DoIt and rpc do_it of S both become 'doIt'; rename one",
    ],
    [
      'an unknown type of an rpc',
      'message A {}\nservice S { rpc DoIt(A) returns (B); }',
      'a.proto:3:34: B, a type of rpc DoIt, is not declared; is an import missing?',
    ],
    ['a missing import', 'import "b.proto";', 'a.proto:2:8: b.proto is in none of the folders'],
  ])('%s', (_, text, expected) => {
    expect(failure({ 'a.proto': `syntax = "proto3";\n${text}` })).toContain(expected);
  });

  test('whatever is changed in a file, it is generated, or every error has a place', () => {
    const path = join(TEST_PROTOS, 'millrace/test/v1/rich.proto');
    const tokens = tokenize(readFileSync(path, 'utf8')).map(({ text }) => text);
    const place = fc.nat({ max: tokens.length - 1 });
    const change = fc.record({
      kind: fc.constantFrom('remove', 'insert', 'replace'),
      at: place,
      from: place,
    });
    fc.assert(
      fc.property(change, ({ kind, at, from }) => {
        const text = tokens.toSpliced(
          at,
          kind === 'insert' ? 0 : 1,
          ...(kind === 'remove' ? [] : [tokens[from] as string]),
        );
        try {
          generate({ proto: [TEST_PROTOS], drafts: new Map([[path, text.join('')]]) });
        } catch (error) {
          expect(error).toBeInstanceOf(GenerateError);
          const { diagnostics } = error as GenerateError;
          expect(diagnostics).not.toEqual([]);
          for (const { file, line } of diagnostics) {
            expect(file).toContain('.proto');
            expect(line).toBeGreaterThan(0);
          }
        }
      }),
      { numRuns: 150 },
    );
  }, 60_000);

  test('a group', () => {
    const text = 'syntax = "proto2";\nmessage A { optional group G = 1 { optional int32 a = 1; } }';
    expect(failure({ 'a.proto': text })).toContain(
      'field G is a group, which is not supported; make it a message',
    );
  });

  test('an unknown edition', () => {
    expect(failure({ 'a.proto': 'edition = "2030";\nmessage A {}' })).toContain('a.proto:1');
  });

  test('no file, and a folder without one', () => {
    expect(() => generate({ proto: ['nowhere'] })).toThrow('nowhere does not exist; name a .proto');
    expect(() => generate({ proto: [folder({})] })).toThrow('holds no .proto file');
  });
});

describe('files', () => {
  const common =
    'syntax = "proto3";\npackage common.v1;\nmessage Common { Other other = 1; }\nmessage Other {}';
  const api = `syntax = "proto3";
package api.v1;
import "common/v1/common.proto";
import "google/api/annotations.proto";
message Api { common.v1.Common common = 1; }
service Get { rpc Get(Api) returns (Api) { option (google.api.http) = { get: "/v1" }; } }`;

  test('imports are found on the import path; what is used of them is generated too', () => {
    const root = folder({ 'here/api/v1/api.proto': api, 'there/common/v1/common.proto': common });
    const files = generate({ proto: [join(root, 'here')], importPaths: [join(root, 'there')] });
    expect(files.map(({ path }) => path)).toEqual(['api/v1/api.ts', 'common/v1/common.ts']);
    expect(files[0]?.text).toContain(
      "import { Common, type CommonInit, commonFile } from '../../common/v1/common.js';",
    );
  });

  test('a file alone is imported from where its package begins', () => {
    const root = folder({
      'protos/api/v1/api.proto': api,
      'protos/common/v1/common.proto': common,
    });
    const files = generate({ proto: [join(root, 'protos/api/v1/api.proto')] });
    expect(files.map(({ path }) => path)).toEqual(['api/v1/api.ts', 'common/v1/common.ts']);
  });

  test('of two folders from which a file could be imported, that of its package counts', () => {
    const root = folder({ 'api/v1/api.proto': api, 'common/v1/common.proto': common });
    const files = generate({ proto: [join(root, 'api')], importPaths: [root] });
    expect(files.map(({ path }) => path)).toEqual(['api/v1/api.ts', 'common/v1/common.ts']);
  });

  test('a file that is imported by two paths', () => {
    const first = 'syntax = "proto3";\nimport "b.proto";\nimport "deep/b.proto";\n';
    const root = folder({ 'a.proto': first, 'deep/b.proto': 'syntax = "proto3";\nmessage B {}' });
    expect(() =>
      generate({ proto: [join(root, 'a.proto')], importPaths: [join(root, 'deep'), root] }),
    ).toThrow(/a\.proto:3:8: deep\/b\.proto is the file that is b\.proto elsewhere/);
  });
});
