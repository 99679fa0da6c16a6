// millrace doctor, on the machine of the test.

import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { millrace } from '../support/cli.js';

interface Report {
  readonly level: string;
  readonly findings: {
    readonly check: string;
    readonly level: string;
    readonly message: string;
    readonly remedy?: string;
  }[];
}

async function report(words: string[], environment: Record<string, string> = {}) {
  const { code, stdout, stderr } = await millrace(['doctor', '--json', ...words], { environment });
  expect(stderr).toBe('');
  const { level, findings } = JSON.parse(stdout) as Report;
  const checks = new Map(findings.map((finding) => [finding.check, finding]));
  return { code, level, checks };
}

/** A port on which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

test('what would run here, and from where', async () => {
  const { code, checks } = await report(['--port', String(await freePort())]);
  expect(code).toBe(0);
  expect(checks.get('node')).toMatchObject({ level: 'ok', message: process.versions.node });
  expect(checks.get('native')?.message).toMatch(/millrace.*\.node$/);
  expect(checks.get('driver')?.message).toMatch(/^(bundle|ring|classic|portable): /);
  if (process.platform === 'linux') {
    expect(checks.get('features')?.message).toMatch(/^io_uring (has what is needed for|cannot be)/);
  }
  expect(checks.get('port')).toMatchObject({ level: 'ok' });
});

test('as text', async () => {
  const { code, stdout } = await millrace(['doctor'], {
    environment: { MILLRACE_DRIVER: 'portable' },
  });
  expect(code).toBe(0);
  expect(stdout).toMatch(/^ok {4}node {8}\d+\.\d+\.\d+$/m);
  expect(stdout).toMatch(
    /^(ok {2}|warn) {2}driver {6}portable: asked for \(MILLRACE_DRIVER=portable\)$/m,
  );
  expect(stdout).not.toContain('\u001b');
});

test('a port that is taken', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { code, level, checks } = await report(['--port', String(port)]);
  expect({ code, level }).toEqual({ code: 1, level: 'fail' });
  expect(checks.get('port')).toMatchObject({
    level: 'fail',
    message: `127.0.0.1:${port} is taken`,
    remedy: expect.stringContaining(`sport = :${port}`),
  });
});

test.each(['ring', 'classic'])('the driver %s, as asked for', async (driver) => {
  const { checks } = await report([], { MILLRACE_DRIVER: driver });
  const { level, message } = checks.get('driver') ?? {};
  // Where io_uring is forbidden, that is what is said.
  if (level === 'fail') expect(message).toContain(`the driver '${driver}' does not run here`);
  else expect(message).toMatch(new RegExp(`^${driver}: .*as asked for`));
});

test('a driver that does not exist', async () => {
  const { code, checks } = await report([], { MILLRACE_DRIVER: 'floppy' });
  expect(code).toBe(1);
  expect(checks.get('driver')).toMatchObject({
    level: 'fail',
    remedy: expect.stringContaining('MILLRACE_DRIVER'),
  });
});

test('a native module that does not load', async () => {
  const hooks = `export function load(url, context, next) {
    if (!url.endsWith('/native/index.js')) return next(url, context);
    return { format: 'module', shortCircuit: true, source: 'throw new Error("not built\\\\n  file x: missing")' };
  }`;
  const asUrl = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;
  const register = `import { register } from 'node:module'; register(${JSON.stringify(asUrl(hooks))});`;
  const { code, checks } = await report([], { NODE_OPTIONS: `--import=${asUrl(register)}` });
  expect(code).toBe(1);
  expect(checks.get('native')).toEqual({
    check: 'native',
    level: 'fail',
    message: 'not built',
    remedy: 'file x: missing',
  });
  expect(checks.has('driver')).toBe(false);
});

test.each([
  [['--port', '0'], 'A port is a number from 1 to 65535'],
  [['--port', 'http'], 'A port is a number from 1 to 65535'],
  [['here'], 'too many arguments'],
])('%s', async (words, says) => {
  const { code, stdout, stderr } = await millrace(['doctor', ...words]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toContain(says);
});
