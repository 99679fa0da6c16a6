// What `npm start` of a new project runs: the compiled program, by Node.js.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { millrace } from '../support/cli.js';
import { linkPackages, project } from '../support/project.js';

const PACKAGES = ['millrace', '@millrace/health', '@millrace/reflection', 'zod'];

/** A new project as its own compiler builds it. */
async function built(): Promise<string> {
  const above = project({});
  const made = await millrace(['new', 'my-app', '--no-install'], { cwd: above });
  expect(made).toMatchObject({ code: 0, stderr: '' });
  const cwd = join(above, 'my-app');
  linkPackages(cwd, ...PACKAGES, 'typescript', '@types/node', 'vitest');
  const compiler = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));
  const words = [join(compiler, 'bin/tsc'), '-p', 'tsconfig.build.json'];
  const { status, stdout } = spawnSync(process.execPath, words, { cwd, encoding: 'utf8' });
  expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  return cwd;
}

function start(cwd: string, environment: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, ['--enable-source-maps', 'dist/main.js'], {
    cwd,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

function outputOf(child: ChildProcess) {
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  return output;
}

test('a port in use is one line that says where the port comes from', async () => {
  const cwd = await built();
  const taken = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  for (const THREADS of ['1', '2']) {
    const child = start(cwd, { PORT: String(port), THREADS });
    const output = outputOf(child);
    expect(await once(child, 'close')).toEqual([1, null]);
    expect(output).toEqual({
      stdout: '',
      stderr: `cannot listen on 127.0.0.1:${port}: the port is in use; stop the other process, or choose another port (0 for any): HOST and PORT say where, in the environment or in .env\n`,
    });
  }
});
