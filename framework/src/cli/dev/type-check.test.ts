import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TypeCheck } from './type-check.js';

const before = process.cwd();
const project = mkdtempSync(join(tmpdir(), 'millrace-types-'));

beforeAll(() => {
  const compiler = join(project, 'node_modules/typescript');
  mkdirSync(join(compiler, 'bin'), { recursive: true });
  writeFileSync(join(compiler, 'package.json'), '{ "name": "typescript" }');
  // Does what the project says.
  writeFileSync(join(compiler, 'bin/tsc'), `eval(require('node:fs').readFileSync('does', 'utf8'))`);
  writeFileSync(join(project, 'tsconfig.json'), '{}');
  process.chdir(project);
});
afterAll(() => {
  process.chdir(before);
  rmSync(project, { recursive: true });
});

test('says what is wrong, and what is wrong no more, but not when the compiler has died', async () => {
  let heard: (text: string) => void = () => {};
  const types = TypeCheck.of('main.ts', (text) => heard(text))!;
  const checked = (does: string) => {
    writeFileSync('does', does);
    return new Promise<string>((resolve) => {
      heard = resolve;
      types.start();
    });
  };
  const error = "console.log('a.ts(1,1): error TS1: wrong'); process.exitCode = 2";
  expect(await checked(error)).toBe(
    '1 type error; the service goes on\na.ts(1,1): error TS1: wrong',
  );
  expect(await checked("process.kill(process.pid, 'SIGKILL')")).toBe(
    'types were not checked: the compiler ended with SIGKILL',
  );
  expect(await checked('process.exitCode = 3')).toBe(
    'types were not checked: the compiler ended with code 3',
  );
  expect(await checked(error)).toMatch('1 type error');
  expect(await checked('')).toBe('no type errors any more');
});
