// Generated code in the repository is what the generator makes of the contracts today.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { files, root, text } from './tree.js';

/** What every `generate` script of every project runs. */
const scripts = files(/^((examples|services)\/[^/]+|framework|test)\/package\.json$/).flatMap(
  (manifest) => {
    const project = manifest.slice(0, -'/package.json'.length);
    return Object.entries<string>(JSON.parse(text(manifest)).scripts ?? {})
      .filter(([name]) => /^generate(:|$)/.test(name))
      .map(([name, line]) => ({ project, name, line }));
  },
);

test('there are projects with generated code', () => {
  expect(scripts.map(({ project }) => project)).toContain('examples/echo');
});

test.each(scripts)('$project: what `npm run $name` makes is up to date', ({ project, line }) => {
  const [program, ...words] = line.split(' ');
  expect(program).toBe('millrace');
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(root, 'framework/dist/cli/main.js'), ...words, '--check'],
    { cwd: join(root, project), encoding: 'utf8' },
  );
  expect(status, stdout + stderr).toBe(0);
});

test('the API reference is what the docstrings say, and everything exported has one', () => {
  const program = join(root, 'scripts/reference/generate.mjs');
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, '--check'], {
    cwd: root,
    encoding: 'utf8',
  });
  expect(status, stdout + stderr).toBe(0);
});

test('the well-known types of the codec are up to date', async () => {
  const generator = new URL('../../framework/dist/cli/generate/well-known.js', import.meta.url);
  const { generateWellKnown } = await import(generator.href);
  expect(text('framework/src/codec/well-known.gen.ts')).toBe(generateWellKnown());
});
