// The TypeScript of the documents compiles under the strict settings of a project, and what is marked as
// complete runs.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { blocks, unknownFences } from './blocks.js';
import { compile, modules, project } from './modules.js';

const errors = compile();
const withCode = [...new Set(modules.map(({ document }) => document))];

test('there are blocks, and their fences say what CONTRIBUTING.md allows', () => {
  expect(blocks.length).toBeGreaterThan(50);
  expect(unknownFences).toEqual([]);
});

test('what the blocks are set in compiles', () => {
  expect(errors.get('') ?? []).toEqual([]);
});

test.each(withCode)('%s compiles', (document) => {
  expect(errors.get(document) ?? []).toEqual([]);
});

/** How long a block may run. */
const RUN_MS_MAX = 20_000;

test.each(modules.filter(({ runs }) => runs))('$document, line $line, runs', async (module) => {
  // The server of the block, and of its setting, listens here whatever port it names.
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const { fd } = (listener as unknown as { _handle: { fd: number } })._handle;
  const child = spawn(
    process.execPath,
    ['--enable-source-maps', join(import.meta.dirname, 'run-block.mjs'), module.name, `${port}`],
    {
      cwd: join(project, 'out'),
      env: { ...process.env, NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe', fd],
      timeout: RUN_MS_MAX,
    },
  );
  // It is the child's now; what accepted here would be taken from it.
  listener.close();
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const [code, signal] = await once(child, 'close');
  expect({ code, signal }, output).toEqual({ code: 0, signal: null });
});
