// millrace serve: the binary, with modules as a build leaves them.

import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';
import { millrace, startMillrace } from '../support/cli.js';
import { ourClient } from '../support/our-client.js';
import { linkPackages, project } from '../support/project.js';
import { ECHO_SERVICES } from './echo-services.js';

function services(files: Record<string, string> = {}): string {
  const root = project({ 'dist/services.js': ECHO_SERVICES, ...files });
  linkPackages(root, 'millrace', '@millrace/health', '@millrace/reflection');
  return root;
}

type Line = Record<string, unknown> & { readonly msg: string };

/** The log of a server: `line()` is the next whose message is this one. */
function log(child: ChildProcessWithoutNullStreams): (msg: string) => Promise<Line> {
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async (msg) => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error(`it ended without saying ${msg}`);
      const line = JSON.parse(value) as Line;
      if (line.msg === msg) return line;
    }
  };
}

test('help', async () => {
  const { code, stdout } = await millrace(['serve', '--help']);
  expect(code).toBe(0);
  expect(stdout).toContain('--threads');
  expect(stdout).toContain('$ millrace serve dist/services.js');
});

test('serves until it is told to end', async () => {
  const child = startMillrace(['serve', '--port', '0'], { cwd: services() });
  const line = log(child);
  const { port } = await line('listening');
  expect(await ourClient(port as number).say({ text: 'hello' })).toMatchObject({ text: 'hello' });
  child.kill('SIGTERM');
  await line('closed');
  expect(await once(child, 'close')).toEqual([0, null]);
});

test('a thread that dies is replaced; health and reflection are served too', async () => {
  const words = ['serve', '--port', '0', '--threads', '2', '--health', '--reflection'];
  const child = startMillrace(words, { cwd: services() });
  const line = log(child);
  const { port, threads } = await line('listening');
  expect(threads).toBe(2);
  const listed = await millrace(['list', `127.0.0.1:${port}`]);
  expect(listed.stdout.split('\n')).toEqual(
    expect.arrayContaining(['grpc.health.v1.Health', 'millrace.echo.v1.Echo']),
  );
  await ourClient(port as number)
    .say({ text: 'die' })
    .catch(() => {});
  expect(await line('a server thread died; replacing it')).toMatchObject({ wait: 250 });
  expect(await ourClient(port as number).say({ text: 'alive' })).toMatchObject({ text: 'alive' });
});

test('TypeScript, a missing module, a folder', async () => {
  const cwd = services({ 'src/services.ts': '' });
  for (const [entry, says] of [
    ['src/services.ts', 'npm run build'],
    ['dist/other.js', 'dist/other.js does not exist'],
    ['dist', 'dist is a folder'],
  ] as const) {
    const { code, stdout, stderr } = await millrace(['serve', entry], { cwd });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain(says);
  }
});

test.each([1, 2])('modules that cannot be served, threads: %i', async (threads) => {
  const cwd = services({
    'dist/throws.js': "throw new Error('no database');",
    'dist/empty.js': 'export const answer = 42;',
  });
  const serve = (entry: string, ...more: string[]) =>
    millrace(['serve', entry, '--port', '0', '--threads', String(threads), ...more], { cwd });
  const throws = await serve('dist/throws.js');
  expect(throws).toMatchObject({ code: 1, stdout: '' });
  expect(throws.stderr).toMatch(/^dist\/throws.js cannot be loaded: no database\n.*--verbose/);
  expect(throws.stderr).not.toContain('    at ');
  expect((await serve('dist/throws.js', '--verbose')).stderr).toContain('throws.js:1');
  for (const more of [[], ['--health']]) {
    const empty = await serve('dist/empty.js', ...more);
    expect(empty).toMatchObject({ code: 1, stdout: '' });
    expect(empty.stderr).toMatch(/^dist\/empty.js exports no service\nExport what service/);
  }
});

test('a port in use', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  for (const threads of ['1', '2']) {
    const words = ['serve', '--port', String(port), '--threads', threads];
    const { code, stdout, stderr } = await millrace(words, { cwd: services() });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(
      new RegExp(
        `^cannot listen on 127.0.0.1:${port}: .* in use; .*\n--host and --port say where, `,
      ),
    );
  }
});

test('a package that is not installed', async () => {
  const cwd = project({ 'dist/services.js': ECHO_SERVICES });
  linkPackages(cwd, 'millrace');
  const { code, stderr } = await millrace(['serve', '--health'], { cwd });
  expect(code).toBe(1);
  expect(stderr).toContain('npm install @millrace/health');
});

test.each([
  [['--port', 'http'], {}, 'A port is a number from 0 to 65535'],
  [['--threads', 'many'], {}, 'or auto'],
  [['--path', '/x.sock', '--port', '1'], {}, 'cannot be used with'],
  [['--tls-cert', 'x.pem'], {}, 'without --tls-key'],
  [['--log-level', 'loud'], {}, 'Allowed choices are trace'],
  [[], { PORT: 'http' }, 'The environment says PORT=http'],
])('%j %j', async (words, environment, says) => {
  const { code, stdout, stderr } = await millrace(['serve', ...words], {
    cwd: services(),
    environment,
  });
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toContain(says);
});

test('the configuration says where, the environment goes before it', async () => {
  const cwd = services({ 'millrace.config.mjs': "export default { host: '127.0.0.2', port: 0 };" });
  const child = startMillrace(['serve', join('dist', 'services.js')], {
    cwd,
    environment: { HOST: '127.0.0.3', PORT: '' },
  });
  expect(await log(child)('listening')).toMatchObject({ host: '127.0.0.3' });
});
