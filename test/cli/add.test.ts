// `millrace add service` and `millrace add method`, run as users run them; what they write is
// checked by the compiler, and its tests are run.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type CliResult, millrace } from '../support/cli.js';
import { linkPackages, project } from '../support/project.js';

const require = createRequire(import.meta.url);

/** Everything in the project but packages. */
function tree(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((path) => !path.startsWith('node_modules'))
    .sort();
}

const text = (root: string, path: string) => readFileSync(join(root, path), 'utf8');

async function done(words: readonly string[], cwd: string): Promise<CliResult> {
  const result = await millrace(words, { cwd });
  expect({ code: result.code, stderr: result.stderr }).toEqual({ code: 0, stderr: '' });
  return result;
}

const TSCONFIG = JSON.stringify({
  compilerOptions: {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noUnusedLocals: true,
    verbatimModuleSyntax: true,
    skipLibCheck: true,
    noEmit: true,
    types: ['node'],
  },
  include: ['src', 'test'],
});

test('a service and a method of each kind: they compile, and their tests pass', async () => {
  const cwd = project({ 'tsconfig.json': TSCONFIG });
  linkPackages(cwd, 'millrace', 'vitest', '@types/node', 'typescript');
  const { stdout } = await done(['add', 'service', 'order-items'], cwd);
  expect(stdout).toBe(`protos/order_items/v1/order_items.proto  created
src/gen/order_items/v1/order_items.ts    created
src/services/order-items.ts              created
src/services.ts                          created
test/order-items.test.ts                 created
`);
  await done(['add', 'method', 'OrderItems.List', '--kind', 'server'], cwd);
  await done(['add', 'method', 'OrderItems.put-all', '--kind', 'client'], cwd);
  await done(['add', 'method', 'order_items.v1.OrderItems.Chat', '--kind', 'bidi'], cwd);
  await done(['add', 'service', 'shop.v1.Shop', '--method', 'Watch', '--kind', 'server'], cwd);
  expect(tree(cwd)).toEqual([
    'package.json',
    'protos/order_items/v1/order_items.proto',
    'protos/shop/v1/shop.proto',
    'src/gen/order_items/v1/order_items.ts',
    'src/gen/shop/v1/shop.ts',
    'src/services.ts',
    'src/services/order-items.ts',
    'src/services/shop.ts',
    'test/order-items-chat.test.ts',
    'test/order-items-list.test.ts',
    'test/order-items-put-all.test.ts',
    'test/order-items.test.ts',
    'test/shop.test.ts',
    'tsconfig.json',
  ]);
  expect(text(cwd, 'src/services.ts')).toBe(`import { orderItems } from './services/order-items.js';
import { shop } from './services/shop.js';

export const services = [orderItems, shop];
`);
  expect(text(cwd, 'protos/order_items/v1/order_items.proto')).toContain(`service OrderItems {
  rpc Get(GetRequest) returns (GetResponse);
  rpc List(ListRequest) returns (stream ListResponse);
  rpc PutAll(stream PutAllRequest) returns (PutAllResponse);
  rpc Chat(stream ChatRequest) returns (stream ChatResponse);
}
`);
  await done(['generate', '--check'], cwd);
  run(cwd, 'typescript', 'bin/tsc', '-p', '.');
  expect(run(cwd, 'vitest', 'vitest.mjs', 'run', '--root', '.')).toMatch(/Tests\s+5 passed/);
}, 120_000);

/** Runs a program of an installed package, which has to succeed; answers what it says. */
function run(cwd: string, name: string, bin: string, ...words: string[]): string {
  const script = join(dirname(require.resolve(`${name}/package.json`)), bin);
  const { VITEST: _, ...environment } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...words], {
    cwd,
    env: { ...environment, NO_COLOR: '1' },
    encoding: 'utf8',
  });
  expect(status, stdout + stderr).toBe(0);
  return stdout;
}

test('what the user wrote stays as it is: comments, blanks, tabs, line ends, other handlers', async () => {
  const proto =
    'syntax = "proto3"; // three\r\npackage a.v1;\r\n\r\nservice Things {\r\n\trpc Get(Thing) returns (Thing); // first\r\n}\r\n\r\n/* all */ message Thing { string   text=1; }';
  const handlers =
    'import { service } from "millrace"\nimport { Things } from "../gen/a/v1/a.js"\n\nexport const mine = service(Things, {\n\tget: (thing) => thing, // as it is\n})\n';
  const cwd = project({ 'protos/a/v1/a.proto': proto, 'src/services/mine.ts': handlers });
  const { stdout } = await done(
    ['add', 'method', 'Things.List', '--kind', 'server', '--json'],
    cwd,
  );
  expect(JSON.parse(stdout)).toEqual({
    files: [
      { path: 'protos/a/v1/a.proto', change: 'changed' },
      { path: 'src/gen/a/v1/a.ts', change: 'created' },
      { path: 'src/services/mine.ts', change: 'changed' },
      { path: 'test/things-list.test.ts', change: 'created' },
    ],
    manual: [],
  });
  expect(text(cwd, 'protos/a/v1/a.proto')).toBe(
    `${proto.replace('// first\r\n', '// first\r\n\trpc List(ListRequest) returns (stream ListResponse);\r\n')}\r\n\r\nmessage ListRequest {\r\n\tstring text = 1;\r\n}\r\n\r\nmessage ListResponse {\r\n\tstring text = 1;\r\n}\r\n`,
  );
  expect(text(cwd, 'src/services/mine.ts')).toBe(
    handlers.replace(
      '// as it is\n',
      '// as it is\n\n\tasync *list(request) {\n\t\tyield { text: request.text };\n\t},\n',
    ),
  );
  expect(text(cwd, 'test/things-list.test.ts')).toContain(
    "import { mine } from '../src/services/mine.js';",
  );
});

test('what cannot be edited for sure is left alone, and the lines are printed', async () => {
  const cwd = project({ 'src/services.ts': 'export const services = await find();\n' });
  const first = await done(['add', 'service', 'Orders'], cwd);
  expect(first.stdout).toContain(`src/services.ts was left as it is. It takes this from you:
  import { orders } from './services/orders.js';
  // and, in the array services: orders
`);
  expect(text(cwd, 'src/services.ts')).toBe('export const services = await find();\n');
  const file = join(cwd, 'src/services/orders.ts');
  writeFileSync(file, "import { handlers } from './mine.js';\nservice(Orders, handlers);\n");
  const second = await done(['add', 'method', 'Orders.List'], cwd);
  expect(second.stdout).toContain(`src/services/orders.ts was left as it is. It takes this from you:
  async list(request) {
    return { text: request.text };
  },
`);
});

test('the configuration says where things are', async () => {
  const cwd = project({
    'millrace.config.mjs':
      "export default { protos: 'api', out: 'lib/made', entry: 'lib/main.ts' };",
  });
  await done(['add', 'service', 'Orders'], cwd);
  expect(tree(cwd)).toEqual([
    'api/orders/v1/orders.proto',
    'lib/made/orders/v1/orders.ts',
    'lib/services.ts',
    'lib/services/orders.ts',
    'millrace.config.mjs',
    'package.json',
    'test/orders.test.ts',
  ]);
  expect(text(cwd, 'lib/services/orders.ts')).toContain("from '../made/orders/v1/orders.js'");
});

test.each(['service', 'method'])('add %s: help with examples', async (kind) => {
  const { code, stdout } = await millrace(['add', kind, '--help']);
  expect(code).toBe(0);
  expect(stdout).toContain(`Usage: millrace add ${kind}`);
  expect(stdout).toMatch(new RegExp(`^Examples:\\n  # .*\\n  \\$ millrace add ${kind} `, 'm'));
});

describe('failures change nothing', () => {
  const A =
    'syntax = "proto3";\npackage a.v1;\nmessage M {}\nservice Orders { rpc Get(M) returns (M); }\n';

  const failed = async (
    files: Record<string, string>,
    words: string[],
    code: number,
  ): Promise<string> => {
    const cwd = project(files);
    const before = tree(cwd);
    const result = await millrace(['add', ...words], { cwd });
    expect(result).toMatchObject({ code, stdout: '' });
    expect(result.stderr).not.toContain('    at ');
    expect(tree(cwd)).toEqual(before);
    for (const [path, given] of Object.entries(files)) expect(text(cwd, path)).toBe(given);
    return result.stderr;
  };

  test.each([
    [['service', '9x'], '9x is no name for a service\nWrite letters and digits'],
    [['service', 'Shop.v1.Orders'], 'Shop.v1.Orders is no name for a service'],
    [['service', 'Orders', '--method', 'a b'], 'a b is no name for a method'],
    [['service'], "missing required argument 'name'"],
    [['method', 'List'], 'List names no service\nWrite Service.Method'],
    [['method', 'Orders.2'], '2 is no name for a method'],
    [
      ['method', 'Orders.List', '--kind', 'both'],
      'Allowed choices are unary, client, server, bidi',
    ],
  ])('%s', async (words, says) => {
    expect(await failed({}, words, 2)).toContain(says);
  });

  test('a service that there is, and a file that there is', async () => {
    expect(await failed({ 'protos/a.proto': A }, ['service', 'a.v1.Orders'], 1)).toBe(
      'a.v1.Orders is declared already, in protos/a.proto\nChoose another name, or add to it: millrace add method Orders.NAME\n',
    );
    expect(await failed({ 'src/services/orders.ts': '// mine' }, ['service', 'Orders'], 1)).toBe(
      'src/services/orders.ts exists already\nChoose another name for the service, or rename that file.\n',
    );
  });

  test('no such service, several, and a method that there is', async () => {
    expect(await failed({}, ['method', 'Orders.List'], 1)).toBe(
      'there is no service Orders\nAdd it first: millrace add service Orders\n',
    );
    const B = A.replace('a.v1', 'b.v1');
    const both = { 'protos/a.proto': A, 'protos/b.proto': B };
    expect(await failed(both, ['method', 'Orders.List'], 1)).toBe(
      'there are several services Orders: a.v1.Orders, b.v1.Orders\nGive the one that is meant with its package.\n',
    );
    expect(await failed(both, ['method', 'a.v1.Orders.Get'], 1)).toBe(
      'a.v1.Orders has a method Get already, in protos/a.proto:4\nChoose another name.\n',
    );
  });

  test('a .proto file with errors', async () => {
    const wrong = { 'protos/a.proto': A.replace('message M {}', 'message M { int32 a = 0; }') };
    expect(await failed(wrong, ['method', 'Orders.List'], 1)).toContain(
      'protos/a.proto:3:23: field a has the number 0',
    );
  });

  test('a folder where a file should go', async () => {
    const cwd = project({ 'protos/a.proto': A });
    mkdirSync(join(cwd, 'test/orders-list.test.ts'), { recursive: true });
    mkdirSync(join(cwd, 'src/gen/a.ts'), { recursive: true });
    const { code, stderr } = await millrace(['add', 'method', 'Orders.List'], { cwd });
    expect(code).toBe(1);
    expect(stderr).toContain('Nothing was changed. Run it in a folder in which you may write.');
    expect(text(cwd, 'protos/a.proto')).toBe(A);
    expect(existsSync(join(cwd, 'src/services'))).toBe(false);
  });
});
