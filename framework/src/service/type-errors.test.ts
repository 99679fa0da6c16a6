import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const file = 'src/service/type-errors.test-d.ts';

interface Found {
  readonly line: number;
  readonly text: string;
}

/** What tsc says about the file: the first line of each error. */
function compile(): Found[] {
  const compiler = join(
    dirname(createRequire(import.meta.url).resolve('typescript/package.json')),
    'bin/tsc',
  );
  const project = join(tmpdir(), `millrace-type-errors-${process.pid}.json`);
  writeFileSync(
    project,
    JSON.stringify({
      extends: join(root, 'tsconfig.json'),
      include: [join(root, file)],
      exclude: [],
      compilerOptions: {
        composite: false,
        incremental: false,
        noEmit: true,
        rootDir: root,
        typeRoots: [join(root, '../node_modules/@types')],
      },
    }),
  );
  const { stdout } = spawnSync(process.execPath, [compiler, '-p', project, '--pretty', 'false'], {
    cwd: root,
    encoding: 'utf8',
  });
  rmSync(project);
  const found: Found[] = [];
  for (const text of stdout.split('\n')) {
    const match = /^(\S+)\((\d+),\d+\): error TS\d+: (.*)$/.exec(text);
    if (match === null) continue;
    if (!match[1]!.endsWith('type-errors.test-d.ts')) throw new Error(`elsewhere: ${text}`);
    found.push({ line: Number(match[2]), text: match[3]! });
  }
  return found;
}

test('each mistake is one error, and its first line says what is wrong', () => {
  const lines = readFileSync(join(root, file), 'utf8').split('\n');
  const begins = lines.flatMap((text, index) =>
    text.startsWith('service(Notes') ? [{ at: index + 1, before: lines[index - 1]! }] : [],
  );
  expect(begins.length).toBeGreaterThan(10);
  const found = compile();
  const said = begins.map(({ at, before }, index) => {
    const end = begins[index + 1]?.at ?? Number.POSITIVE_INFINITY;
    const errors = found.filter(({ line }) => line >= at && line < end);
    return { at, before, errors: errors.map(({ text }) => text) };
  });
  // What is right stands first, without a mistake named in the line above it.
  const rights = said.findIndex(({ before }, index) => index > 0 && before.startsWith('// '));
  for (const { at, errors } of said.slice(0, rights)) expect([at, ...errors]).toEqual([at]);
  for (const { before, errors } of said.slice(rights)) {
    const mistake = before.slice(3);
    expect([mistake, errors.length, ...errors]).toEqual([
      mistake,
      1,
      expect.stringContaining(mistake),
    ]);
  }
}, 60_000);
