// millrace dev: the binary, with a project as `millrace new` lays it out.

import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import { connect, connection } from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { millrace, startMillrace } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { linkPackages, project } from '../support/project.js';

const PROTO = `syntax = "proto3";
package millrace.echo.v1;
service Echo { rpc Say (Note) returns (Note); }
message Note { string text = 1; bytes data = 2; }
`;
const MAIN = `import { serve } from 'millrace';
await serve({ services: new URL('./services.js', import.meta.url), port: 1 });
`;
const services = (reply: string) => `import { service } from 'millrace';
import { Echo } from './gen/proto.js';
export const echo = service(Echo, {
  async say({ text }: { text: string }) {
    if (text === 'where') return { text: String(new Error('here').stack) };
    const reply: number = ${JSON.stringify(reply)}; // a type error, which stops nothing
    return { text: String(reply) };
  },
});
`;

function echoProject(files: Record<string, string> = {}): string {
  const root = project({
    'protos/proto.proto': PROTO,
    'src/main.ts': MAIN,
    'src/services.ts': services('first'),
    ...files,
  });
  linkPackages(root, 'millrace', 'rolldown');
  return root;
}

interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  readonly output: { stdout: string; stderr: string };
  readonly target: string;
  says(text: string | RegExp): Promise<unknown>;
}

async function dev(cwd: string, ...words: string[]): Promise<Running> {
  const child = startMillrace(['dev', '--port', '0', ...words], { cwd });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'close');
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  const all = () => output.stdout + output.stderr;
  const says = (text: string | RegExp) =>
    eventually(`it says ${text}`, all, (now) =>
      typeof text === 'string' ? now.includes(text) : text.test(now),
    );
  await says('Ctrl-C ends it');
  const target = /^listening on (\S+);/.exec(output.stdout)![1]!;
  return { child, output, target, says };
}

function clientOf(target: string) {
  const made = connection(target);
  onTestFinished(() => made.close(1000));
  return connect(Echo, made);
}

test('help', async () => {
  const { code, stdout } = await millrace(['dev', '--help']);
  expect(code).toBe(0);
  expect(stdout).toContain('$ millrace dev --port 8080');
});

test('no call fails across 20 restarts, and each is seen within a second', async () => {
  const cwd = echoProject();
  const { target, says, output, child } = await dev(cwd);
  await says(/^started in/m);
  const client = clientOf(target);
  let last = '';
  let calls = 0;
  let over = false;
  const loop = (async () => {
    while (!over) {
      // A client that stays, and one that connects each time.
      last = (await client.say({ text: '' })).text;
      const once = connection(target);
      await connect(Echo, once).say({ text: '' });
      await once.close();
      calls++;
    }
  })();
  const times: number[] = [];
  for (let restart = 1; restart <= 20; restart++) {
    const startedAt = performance.now();
    writeFileSync(join(cwd, 'src/services.ts'), services(`number ${restart}`));
    await Promise.race([
      loop,
      eventually(
        `number ${restart} answers`,
        () => last,
        (now) => now === `number ${restart}`,
      ),
    ]);
    times.push(performance.now() - startedAt);
  }
  over = true;
  await loop;
  expect(calls).toBeGreaterThan(20);
  expect(output.stdout.match(/^restarted in/gm)).toHaveLength(20);
  times.sort((a, b) => a - b);
  console.log(`${calls} calls; a change is served after ${Math.round(times[10]!)} ms (median)`);
  child.kill('SIGTERM');
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(readdirSync(join(cwd, '.millrace'))).toEqual(['.gitignore']);
});

test('what cannot be built or does not start keeps the one before', async () => {
  const cwd = echoProject();
  const { target, says } = await dev(cwd);
  await says(/^started in/m);
  const client = clientOf(target);
  const say = async () => (await client.say({ text: '' })).text;
  writeFileSync(join(cwd, 'src/services.ts'), 'export const = 1;');
  await says(/services\.ts:1[\s\S]*the one before goes on/);
  expect(await say()).toBe('first');
  writeFileSync(join(cwd, 'src/services.ts'), "throw new Error('no database');");
  await says(
    /Error: no database[\s\S]*ended before it listened \(exit code 1\); the one before goes on/,
  );
  expect(await say()).toBe('first');
  writeFileSync(join(cwd, 'protos/proto.proto'), PROTO.replace('data = 2', 'data = 1'));
  await says('protos/proto.proto:4');
  expect(await say()).toBe('first');
  writeFileSync(join(cwd, 'src/services.ts'), services('mended'));
  writeFileSync(
    join(cwd, 'protos/proto.proto'),
    PROTO.replace('string text', 'string text_more = 3; string text'),
  );
  await eventually('it is mended', say, (now) => now === 'mended');
  expect(readFileSync(join(cwd, 'src/gen/proto.ts'), 'utf8')).toContain('textMore');
  // Traces name the sources.
  expect((await client.say({ text: 'where' })).text).toContain('src/services.ts:5');
});

test('the end of the supervisor is the end of the program', async () => {
  const { child, target, says } = await dev(echoProject());
  await says(/^started in/m);
  child.kill('SIGKILL');
  const { port } = new URL(`http://${target}`);
  await eventually(
    'nobody listens',
    async () => {
      const server = createServer();
      const free = await new Promise((resolve) => {
        server.once('error', () => resolve(false));
        server.listen({ port: Number(port), host: '127.0.0.1' }, () => resolve(true));
      });
      server.close();
      return free;
    },
    (free) => free === true,
  );
});

test('no entry', async () => {
  const cwd = project({});
  const { code, stderr } = await millrace(['dev'], { cwd });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^src\/main\.ts does not exist\nName the program/);
  expect(existsSync(join(cwd, '.millrace'))).toBe(false);
});

test('a port in use', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const { code, stderr } = await millrace(['dev', '--port', String(port)], { cwd: echoProject() });
  expect(code).toBe(1);
  expect(stderr).toContain('the port is in use');
});

test('no bundler', async () => {
  const { says } = await dev(project({ 'src/main.ts': MAIN }));
  await says('npm install --save-dev rolldown, or esbuild');
});
