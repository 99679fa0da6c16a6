// millrace.config.*: found, loaded, checked, and overridden by the command line.

import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { binary, millrace } from '../support/cli.js';
import { linkPackages, project } from '../support/project.js';

const A = 'syntax = "proto3";\npackage a.v1;\nmessage A { string text = 1; }\n';

test('a TypeScript configuration is bundled by the project, with what it imports', async () => {
  const cwd = project({
    'api/a.proto': A,
    'names.ts': "export const out: string = 'lib/made';\n",
    'millrace.config.ts': `import { defineConfig } from 'millrace/config';
import { out } from './names.ts';
const port: number = 5000;
export default defineConfig({ protos: 'api', out, port });`,
  });
  linkPackages(cwd, 'rolldown', 'millrace');
  const { code, stdout, stderr } = await millrace(['generate'], { cwd });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toBe('lib/made: 1 written, 0 up to date\n');
  expect(readdirSync(cwd).sort()).toEqual([
    'api',
    'lib',
    'millrace.config.ts',
    'names.ts',
    'node_modules',
    'package.json',
  ]);
});

test('a JavaScript configuration needs no bundler; options override it', async () => {
  const cwd = project({
    'api/a.proto': A,
    'millrace.config.mjs':
      "export default { protos: ['api'], out: 'lib/gen', runtime: './codec.js' };",
  });
  expect((await millrace(['generate'], { cwd })).stdout).toContain('lib/gen: 1 written');
  const overridden = await millrace(['generate', '--out', 'src/other'], { cwd });
  expect(overridden.stdout).toContain('src/other: 1 written');
});

test('--config names another, and its paths are relative to it', async () => {
  const cwd = project({
    'settings/api/a.proto': A,
    'settings/mine.mjs': "export default { protos: 'api', out: 'gen' };",
  });
  const { stdout } = await millrace(['generate', '--config', 'settings/mine.mjs'], { cwd });
  expect(stdout).toBe('settings/gen: 1 written, 0 up to date\n');
});

describe('what is wrong with it', () => {
  const failed = async (files: Record<string, string>, ...words: string[]) => {
    const cwd = project({ 'protos/a.proto': A, ...files });
    const { code, stdout, stderr } = await millrace(['generate', ...words], { cwd });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).not.toContain('    at ');
    expect(existsSync(join(cwd, 'src'))).toBe(false);
    return stderr;
  };

  test('each value, by its path', async () => {
    const text = "export default { protos: ['a', 1], port: 70000, ports: 1, out: '' };";
    const said = await failed({ 'millrace.config.mjs': text });
    expect(said).toContain('millrace.config.mjs: protos: expected a path or an array of paths\n');
    expect(said).toContain('millrace.config.mjs: port: too big: expected number to be <=65535\n');
    expect(said).toContain('millrace.config.mjs: out: too small');
    expect(said).toContain('millrace.config.mjs: unrecognized key: "ports"\n');
    expect(said).toContain('The keys are protos, out, importPaths, runtime, entry, host, port.');
  });

  test('no default export, and one that is no object', async () => {
    expect(await failed({ 'millrace.config.js': 'export const protos = 1;' })).toBe(
      'millrace.config.js has no default export\nWrite export default defineConfig({ … }), with defineConfig of millrace/config.\n',
    );
    expect(await failed({ 'millrace.config.js': 'export default 5;' })).toContain(
      'millrace.config.js: expected an object',
    );
  });

  test('it throws, or cannot be read', async () => {
    expect(await failed({ 'millrace.config.js': "throw new Error('no such luck');" })).toBe(
      'millrace.config.js cannot be loaded: no such luck\n',
    );
    expect(await failed({}, '--config', 'gone.mjs')).toBe(
      'gone.mjs does not exist\nGive the path of a configuration with --config, or leave it out.\n',
    );
  });

  test('it is no TypeScript, which the bundler says in colours', async () => {
    const cwd = project({ 'millrace.config.ts': 'export default {' });
    linkPackages(cwd, 'rolldown');
    const environment = { NO_COLOR: undefined, FORCE_COLOR: '1' };
    const { code, stderr } = await millrace(['generate'], { cwd, environment });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^millrace\.config\.ts cannot be loaded: .*\n\n\[PARSE_ERROR\]/);
    expect(stderr).not.toContain('\u001b');
  });

  test('it is in a folder in which nothing may be written', ({ skip }) => {
    const cwd = project({
      'protos/a.proto': A,
      'out.ts': "export const out: string = 'made';\n",
      'millrace.config.ts': `import { defineConfig } from 'millrace/config';
import { out } from './out.ts';
export default defineConfig({ out });`,
    });
    linkPackages(cwd, 'rolldown', 'millrace');
    chmodSync(cwd, 0o555);
    // Whoever may write everywhere becomes somebody who may not.
    const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
    const read = `fs.readFileSync(${JSON.stringify(binary)}); fs.readdirSync(${JSON.stringify(cwd)})`;
    const reads = spawnSync(process.execPath, ['-e', read], { cwd, ...nobody });
    if (reads.status !== 0) skip('whoever may not write may not read here either');
    const words = [binary, 'generate', '--check'];
    const result = spawnSync(process.execPath, words, { cwd, encoding: 'utf8', ...nobody });
    chmodSync(cwd, 0o755);
    const { status, stderr } = result;
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/made.*run millrace generate/s),
    });
  });

  test('it cannot be built beside itself', async () => {
    // The name of what is built is longer, and too long.
    const name = `${'a'.repeat(240)}.ts`;
    const cwd = project({ [name]: 'export default {};' });
    linkPackages(cwd, 'rolldown');
    const { code, stderr } = await millrace(['generate', '--config', name], { cwd });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /cannot be built beside itself: ENAMETOOLONG.*\n.* Or write it in JavaScript, as /,
    );
  });

  const strips = (process.features as { typescript?: unknown }).typescript;
  test.skipIf(strips)('TypeScript without a bundler', async () => {
    const said = await failed({ 'millrace.config.ts': 'export default {};' });
    expect(said).toBe(
      'millrace.config.ts is TypeScript, and this project has no bundler to load it with\nInstall one (npm install --save-dev rolldown), or rename the file to millrace.config.mjs and write JavaScript.\n',
    );
  });
});
