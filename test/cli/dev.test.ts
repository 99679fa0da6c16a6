// millrace dev: the binary, with a project as `millrace new` lays it out.

import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import { connect, connection } from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { millrace } from '../support/cli.js';
import { dev } from '../support/dev.js';
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

test('no call fails while a client calls as fast as it can, and what was built is removed', async () => {
  const cwd = echoProject();
  const { target, says, output, child } = await dev(cwd);
  await says(/^started in/m);
  const client = clientOf(target);
  let last = '';
  let over = false;
  const loop = (async () => {
    while (!over) {
      // A client that stays, and one that connects each time.
      last = (await client.say({ text: '' })).text;
      const once = connection(target);
      await connect(Echo, once).say({ text: '' });
      await once.close();
    }
  })();
  for (let restart = 1; restart <= 5; restart++) {
    const text = `number ${restart}`;
    writeFileSync(join(cwd, 'src/services.ts'), services(text));
    await Promise.race([loop, eventually(text, () => last === text, Boolean, 30_000)]);
    // It is said when the one before has been told to end.
    const said = () => output.stdout.match(/^restarted in/gm)?.length;
    await Promise.race([loop, eventually(text, said, (times) => times === restart, 30_000)]);
  }
  over = true;
  await loop;
  expect(output.stdout.match(/^restarted in/gm)).toHaveLength(5);
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
  await eventually('it is mended', say, (now) => now === 'mended', 30_000);
  expect(readFileSync(join(cwd, 'src/gen/proto.ts'), 'utf8')).toContain('textMore');
  // Traces name the sources.
  expect((await client.say({ text: 'where' })).text).toContain('src/services.ts:5');
});

test('type errors are said, and served all the same', async () => {
  const compilerOptions = {
    ...{ module: 'nodenext', target: 'es2023', strict: true, skipLibCheck: true },
    types: ['node'],
  };
  const cwd = echoProject({ 'tsconfig.json': JSON.stringify({ compilerOptions }) });
  linkPackages(cwd, 'typescript', '@types/node');
  const { target, says, output } = await dev(cwd);
  await says(
    /^1 type error; the service goes on\nsrc\/services\.ts\(6,11\): error TS2322: Type 'string' is not/m,
  );
  const client = clientOf(target);
  expect((await client.say({ text: '' })).text).toBe('first');
  // Errors that are the same are not said again.
  writeFileSync(join(cwd, 'src/services.ts'), services('other'));
  const say = async () => (await client.say({ text: '' })).text;
  await eventually('it is served', say, (now) => now === 'other', 30_000);
  writeFileSync(join(cwd, 'src/services.ts'), services('mended').replace(': number', ''));
  await says(/^no type errors any more$/m);
  expect(output.stderr.match(/type error; the service goes on/g)).toHaveLength(1);
});

test('--no-types checks none', async () => {
  const cwd = echoProject({ 'tsconfig.json': '{}' });
  // A compiler that would say something at once.
  writeFileSync(join(cwd, 'src/late.ts'), "console.log('late');\n");
  const compiler = join(cwd, 'node_modules/typescript');
  mkdirSync(join(compiler, 'bin'), { recursive: true });
  writeFileSync(join(compiler, 'package.json'), '{}');
  writeFileSync(join(compiler, 'bin/tsc'), "console.log('error TS1: asked'); process.exit(1);");
  const { says } = await dev(cwd);
  await says('error TS1: asked');
  const without = await dev(cwd, '--no-types');
  await without.says(/^started in/m);
  writeFileSync(join(cwd, 'src/main.ts'), `import './late.js';\n${MAIN}`);
  await without.says(/^late\n[\s\S]*^restarted in/m);
  without.child.kill('SIGTERM');
  await once(without.child, 'close');
  expect(without.output.stderr).toBe('');
});

test('what is thrown before it listens is shown with the frames of the project', async () => {
  const thrower = `function connect(): never {
  throw new Error('no database', { cause: new Error('refused') });
}
connect();
`;
  const cwd = echoProject({ 'src/services.ts': thrower });
  const { says, output } = await dev(cwd);
  await says('a change starts it again');
  expect(output.stderr).toMatch(
    /^Error: no database\n {4}at connect \(src\/services\.ts:2:9\)\n {4}at .*src\/services\.ts:4:1/,
  );
  expect(output.stderr).toMatch(
    /\ncaused by Error: refused\n {4}at connect \(src\/services\.ts:2:/,
  );
  expect(output.stderr).not.toMatch(/node:|node_modules|\.millrace|file:/);
  const whole = await dev(cwd, '--verbose');
  await whole.says('a change starts it again');
  expect(whole.output.stderr).toMatch(/ {4}at .*node:internal\/modules/);
});

test('workers of the program, wherever they are named', async () => {
  const cwd = echoProject({
    'src/main.ts': `import './jobs/start.js';\n${MAIN}`,
    'src/jobs/start.ts': `import { Worker } from 'node:worker_threads';
const worker = new Worker(new URL('./worker.js', import.meta.url));
await new Promise((resolve) => worker.once('message', (text: string) => resolve(console.log(text))));
await worker.terminate();
`,
    'src/jobs/worker.ts': `import { parentPort } from 'node:worker_threads';
import { greeting } from '../shared.js';
parentPort!.postMessage(greeting satisfies string);
`,
    'src/shared.ts': "export const greeting: string = 'the worker says one';\n",
  });
  const { says } = await dev(cwd);
  await says('the worker says one');
  writeFileSync(
    join(cwd, 'src/shared.ts'),
    "export const greeting: string = 'the worker says two';\n",
  );
  await says('the worker says two');
});

test('a bundle is kept from change to change, also when other modules are named', async () => {
  const cwd = echoProject();
  const { says } = await dev(cwd);
  await says(/^started in/m);
  writeFileSync(join(cwd, 'src/late.ts'), "console.log('late' satisfies string);\n");
  writeFileSync(
    join(cwd, 'src/main.ts'),
    `await import(new URL('./late.js', import.meta.url).href);\n${MAIN}`,
  );
  await says(/^late$/m);
});

test('--stats that is no number of seconds', async () => {
  const { code, stderr } = await millrace(['dev', '--stats', 'often']);
  expect(code).toBe(2);
  expect(stderr).toContain('Give seconds, at most 86400, or 0 for never.');
});

test('a program that died starts again with a change of which nothing is in the bundle', async () => {
  const cwd = echoProject({ 'src/main.ts': `console.log('process', process.pid);\n${MAIN}` });
  const { target, says, output } = await dev(cwd);
  await says(/^started in/m);
  process.kill(Number(/process (\d+)/.exec(output.stdout)?.[1]), 'SIGKILL');
  await says('the program ended (SIGKILL); a change starts it again');
  writeFileSync(join(cwd, 'src/services.ts'), `${services('first')}// saved again\n`);
  await says(/^restarted in/m);
  expect((await clientOf(target).say({ text: '' })).text).toBe('first');
});

test('a program that takes long to listen takes over when it does, unless another change comes before', async () => {
  const waits = `import { existsSync } from 'node:fs';
console.log('waiting', process.pid);
while (!existsSync('go')) await new Promise((resolve) => setTimeout(resolve, 20));
`;
  const startSlowly = async () => {
    const cwd = echoProject({ 'src/second.ts': services('second') });
    const running = await dev(cwd);
    await running.says(/^started in/m);
    const main = `${waits}${MAIN.replace('services.js', 'second.js')}`;
    writeFileSync(join(cwd, 'src/main.ts'), main);
    await running.says(/^waiting \d+$/m);
    await running.says('the program does not listen after 10 s');
    expect((await clientOf(running.target).say({ text: '' })).text).toBe('first');
    return { cwd, ...running };
  };
  const takesOver = async () => {
    const { cwd, target, says } = await startSlowly();
    writeFileSync(join(cwd, 'go'), '');
    await says(/^restarted in/m);
    expect((await clientOf(target).say({ text: '' })).text).toBe('second');
  };
  const isGivenUp = async () => {
    const { cwd, output } = await startSlowly();
    const pid = Number(/^waiting (\d+)$/m.exec(output.stdout)?.[1]);
    writeFileSync(join(cwd, 'src/main.ts'), MAIN);
    await eventually('it has ended', () => !existsSync(`/proc/${pid}`));
    expect(output.stdout).not.toMatch(/^restarted in/m);
  };
  await Promise.all([takesOver(), isGivenUp()]);
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

test('Ctrl-C while the program starts', async () => {
  const cwd = echoProject({ 'src/main.ts': "console.log('begins'); setInterval(() => {}, 1000);" });
  const { says, output, child } = await dev(cwd);
  await says(/begins/);
  child.kill('SIGINT');
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(output.stderr).toBe('');
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
  expect(stderr).toBe(
    `cannot listen on 127.0.0.1:${port}: the port is in use; stop the other process, or choose another port (0 for any)\n--host and --port say where, or HOST and PORT in the environment.\n`,
  );
});

test('nowhere to build', async () => {
  const cwd = project({ 'src/main.ts': MAIN, '.millrace': 'a file' });
  const { code, stderr } = await millrace(['dev', '--port', '0'], { cwd });
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^\.millrace cannot be written: ENOTDIR.*\nIt is where dev builds the program\. Run it .*\n$/,
  );
});

test('no bundler', async () => {
  const { says } = await dev(project({ 'src/main.ts': MAIN }));
  await says('npm install --save-dev rolldown.');
});
