// Generated code in the repository is what the generator makes of the contracts today.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { files, root, text } from './tree.js';

const projects = files(/^((examples|services)\/[^/]+|framework|test)\/package\.json$/)
  .map((manifest) => manifest.slice(0, -'/package.json'.length))
  .filter((project) => JSON.parse(text(`${project}/package.json`)).scripts?.generate !== undefined);

test('there are projects with generated code', () => {
  expect(projects).toContain('examples/echo');
});

test.each(projects)('%s: generated code is up to date', (project) => {
  const [program, ...words] = String(
    JSON.parse(text(`${project}/package.json`)).scripts.generate,
  ).split(' ');
  expect(program).toBe('millrace');
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(root, 'framework/dist/cli/main.js'), ...words, '--check'],
    { cwd: join(root, project), encoding: 'utf8' },
  );
  expect(status, stdout + stderr).toBe(0);
});

test('the well-known types of the codec are up to date', async () => {
  const generator = new URL('../../framework/dist/cli/generate/well-known.js', import.meta.url);
  const { generateWellKnown } = await import(generator.href);
  expect(text('framework/src/codec/well-known.gen.ts')).toBe(generateWellKnown());
});
