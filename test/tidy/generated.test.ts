// Generated code in the repository is what the generator makes of the contracts today.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root, text } from './tree.js';

let scratch: string;

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'millrace-generated-'));
});

afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

/** The projects of the repository that hold generated code, each with its own command. */
const projects = ['examples/echo'];

test.each(projects)('%s: src/gen is up to date', (project) => {
  const { scripts } = JSON.parse(text(`${project}/package.json`));
  const [program, ...words] = String(scripts.generate).split(' ');
  expect(program).toBe('millrace');
  execFileSync(
    process.execPath,
    [
      join(root, 'framework/dist/cli/main.js'),
      ...words.map((word) => (word === 'src/gen' ? scratch : word)),
    ],
    { cwd: join(root, project), stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const made = tree(scratch);
  expect(made.size).toBeGreaterThan(0);
  expect(Object.fromEntries(tree(join(root, project, 'src/gen')))).toEqual(
    Object.fromEntries(made),
  );
});

function tree(folder: string): Map<string, string> {
  return new Map(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => {
        const file = join(entry.parentPath, entry.name);
        return [file.slice(folder.length), readFileSync(file, 'utf8')];
      }),
  );
}
