// `millrace generate --watch`, run as users run it.

import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { startMillrace } from '../support/cli.js';
import { project } from '../support/project.js';

const proto = (fields: string) => `syntax = "proto3";\npackage a.v1;\nmessage A { ${fields} }\n`;

interface Run {
  readonly written?: readonly string[];
  readonly errors?: readonly { readonly file?: string; readonly message: string }[];
}

/** The runs of a process that watches with --json, one after another. */
function runsOf(child: ChildProcessWithoutNullStreams): () => Promise<Run> {
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`it has ended: ${child.stderr.read()}`);
    return JSON.parse(value) as Run;
  };
}

test('changes, errors, new files and folders, and the end', async () => {
  const cwd = project({ 'protos/a.proto': proto('string text = 1;') });
  const file = join(cwd, 'protos/a.proto');
  const child = startMillrace(['generate', '--watch', '--json'], { cwd });
  const run = runsOf(child);
  expect(await run()).toMatchObject({ written: ['a.ts'] });
  // Even if it does not watch yet.
  writeFileSync(file, proto('string words = 1;'));
  expect(await run()).toMatchObject({ written: ['a.ts'] });
  const generated = join(cwd, 'src/gen/a.ts');
  expect(readFileSync(generated, 'utf8')).toContain('words: string;');

  writeFileSync(file, proto('string text = 0;'));
  expect((await run()).errors).toMatchObject([{ file: 'protos/a.proto' }]);
  expect(readFileSync(generated, 'utf8')).toContain('words: string;');

  // As editors save: beside, and renamed.
  writeFileSync(`${file}.tmp`, proto('string mended = 1;'));
  renameSync(`${file}.tmp`, file);
  expect(await run()).toMatchObject({ written: ['a.ts'] });
  expect(readFileSync(generated, 'utf8')).toContain('mended: string;');

  mkdirSync(join(cwd, 'protos/deep'));
  writeFileSync(join(cwd, 'protos/deep/b.proto'), 'syntax = "proto3";\nmessage B {}\n');
  expect(await run()).toMatchObject({ written: ['deep/b.ts'], upToDate: 1 });
  expect(existsSync(join(cwd, 'src/gen/deep/b.ts'))).toBe(true);

  rmSync(file);
  expect(await run()).toMatchObject({ written: [], upToDate: 1 });

  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  expect(await exit).toEqual([0, null]);
});

test('the configuration is watched too', async () => {
  const cwd = project({
    'one/a.proto': proto('string text = 1;'),
    'two/b.proto': 'syntax = "proto3";\nmessage B {}\n',
    'millrace.config.mjs': "export default { protos: 'one' };",
  });
  const child = startMillrace(['generate', '--watch', '--json'], { cwd });
  const run = runsOf(child);
  expect(await run()).toMatchObject({ written: ['a.ts'] });
  writeFileSync(join(cwd, 'millrace.config.mjs'), "export default { protos: 'two' };");
  expect(await run()).toMatchObject({ written: ['b.ts'] });
  writeFileSync(join(cwd, 'two/c.proto'), 'syntax = "proto3";\nmessage C {}\n');
  expect(await run()).toMatchObject({ written: ['c.ts'] });
});
