// Every command: its help, its happy path and three failures, by the binary. What is particular to a
// command is in its own file; this one fails when a command is added without them.

import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { reflection } from '@millrace/reflection';
import { type Server, serve, service } from 'millrace';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { millrace, startMillrace } from '../support/cli.js';
import { linkPackages, project } from '../support/project.js';

const { commandTable } = (await import(
  new URL('../../framework/dist/cli/command-table.js', import.meta.url).href
)) as { commandTable: { name: string }[] };
const echoModule = fileURLToPath(
  new URL('../../examples/echo/dist/gen/millrace/echo/v1/echo.js', import.meta.url),
);
const { Echo } = await import('@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js');

const PROTO = 'syntax = "proto3";\npackage a.v1;\nmessage A { string text = 1; }\n';
const SERVICES = `import { service } from 'millrace';
import { Echo } from ${JSON.stringify(echoModule)};
const never = () => { throw new Error('not called'); };
export const echo = service(Echo, {
  say: ({ text }) => ({ text }), collect: never, expand: never, chat: never, chatFast: never,
});
`;

interface Row {
  /** Ends with 0, or serves until it is told to end. */
  readonly happy: readonly string[];
  /** In its output. */
  readonly says: string | RegExp;
  readonly serves?: true;
  readonly failures: readonly (readonly [words: readonly string[], code: number, says: string])[];
}

let server: Server;
const taken = createServer();
/** The address of a server that reflects, and a port on which somebody listens. */
const TARGET = '<target>';
const TAKEN = '<taken>';
const UNAVAILABLE = 64 + 14;

beforeAll(async () => {
  const never = async function* () {};
  server = await serve({
    services: [
      service(Echo, {
        say: async ({ text }) => ({ text }),
        collect: async () => ({}),
        ...{ expand: never, chat: never, chatFast: never },
      }),
      reflection(),
    ],
    port: 0,
    signals: false,
    log: { level: 'silent' },
  });
  taken.listen(0, '127.0.0.1');
  await once(taken, 'listening');
});
afterAll(async () => {
  taken.close();
  await server.close();
});

const matrix: Readonly<Record<string, Row>> = {
  new: {
    happy: ['new', 'my-app', '--no-install'],
    says: 'my-app is made, of template unary',
    failures: [
      [['new', 'protos', '--no-install'], 1, 'protos exists already'],
      [['new', 'My App', '--no-install'], 2, 'is no name for a project'],
      [['new', 'my-app', '--packages', 'nowhere'], 1, 'nowhere cannot be read'],
    ],
  },
  generate: {
    happy: ['generate'],
    says: 'src/gen: 1 written, 0 up to date',
    failures: [
      [['generate', '--check'], 1, 'run millrace generate'],
      [['generate', '--proto', 'nowhere'], 1, 'nowhere'],
      [['generate', '--proto', 'broken/b.proto'], 1, 'broken/b.proto:2:'],
      [['generate', '--config', 'nowhere.ts'], 1, 'nowhere.ts does not exist'],
    ],
  },
  dev: {
    happy: ['dev', 'main.mjs', '--port', '0'],
    says: /^started in \d+ ms$/m,
    serves: true,
    failures: [
      [['dev', 'nowhere.ts'], 1, 'nowhere.ts does not exist'],
      [['dev', 'main.mjs', '--port', TAKEN], 1, 'the port is in use'],
      [['dev', '--stats', 'often'], 2, 'Give seconds'],
      [['dev', 'main.mjs', '--config', 'nowhere.ts'], 1, 'nowhere.ts does not exist'],
    ],
  },
  serve: {
    happy: ['serve', '--port', '0'],
    says: '"msg":"listening"',
    serves: true,
    failures: [
      [['serve', 'nowhere.js'], 1, 'nowhere.js does not exist'],
      [['serve', 'src/services.ts'], 1, 'npm run build'],
      [['serve', '--port', TAKEN], 1, 'in use'],
      [['serve', '--port', '0', '--metrics-port', TAKEN], 1, 'the port is in use'],
      [['serve', 'throws.mjs', '--port', '0'], 1, 'throws.mjs cannot be loaded: no database'],
    ],
  },
  call: {
    happy: ['call', TARGET, 'millrace.echo.v1.Echo/Say', '{"text":"hello"}'],
    says: '{"text":"hello"}\n',
    failures: [
      [['call', TARGET, 'millrace.echo.v1.Echo/Sya', '{}'], 2, 'Say'],
      [['call', TARGET, 'millrace.echo.v1.Echo/Say', '{"text":'], 2, 'line 1, column 9'],
      [['call', '127.0.0.1:1', 'a.B/C', '{}'], UNAVAILABLE, 'cannot connect to 127.0.0.1:1'],
    ],
  },
  list: {
    happy: ['list', TARGET],
    says: 'millrace.echo.v1.Echo\n',
    failures: [
      [['list', TARGET, 'a.B'], 2, 'a.B'],
      [['list', '127.0.0.1:1'], UNAVAILABLE, 'cannot connect to 127.0.0.1:1'],
      [['list'], 2, "missing required argument 'target'"],
    ],
  },
  add: {
    happy: ['add', 'service', 'Orders'],
    says: 'protos/orders/v1/orders.proto',
    failures: [
      [['add', 'service', 'not a name'], 2, 'not a name'],
      [['add', 'method', 'Nobody.Get'], 1, 'Nobody'],
      [['add', 'method', 'Orders.Get', '--kind', 'many'], 2, 'unary, client, server, bidi'],
    ],
  },
  doctor: {
    happy: ['doctor'],
    says: 'node',
    failures: [
      [['doctor', '--port', 'http'], 2, 'A port is a number'],
      [['doctor', 'here'], 2, 'too many arguments'],
      // What is found goes to standard output, also when it is bad.
      [['doctor', '--port', TAKEN], 1, ''],
    ],
  },
  completion: {
    happy: ['completion', 'bash'],
    says: '_millrace',
    failures: [
      [['completion'], 2, "missing required argument 'shell'"],
      [['completion', 'csh'], 2, "'csh' is invalid"],
      [['completion', 'bash', 'zsh'], 2, 'too many arguments'],
    ],
  },
};

function prepared(): string {
  const cwd = project({
    'protos/a.proto': PROTO,
    'broken/b.proto': 'syntax = "proto3";\nmessage B { string text = 0; }\n',
    'dist/services.js': SERVICES,
    'src/services.ts': 'export const services = [];\n',
    'throws.mjs': "throw new Error('no database');\n",
    'main.mjs': `import { serve } from 'millrace';\nimport { echo } from './services.mjs';\nawait serve({ services: [echo] });\n`,
    'services.mjs': SERVICES,
  });
  linkPackages(cwd, 'millrace');
  return cwd;
}

function filled(words: readonly string[]): string[] {
  const { port } = taken.address() as AddressInfo;
  return words.map((word) =>
    word.replace(TARGET, `127.0.0.1:${server.port}`).replace(TAKEN, String(port)),
  );
}

/** All files but those of packages. */
function tree(cwd: string): string[] {
  return readdirSync(cwd, { recursive: true, encoding: 'utf8' })
    .filter((path) => !path.startsWith('node_modules'))
    .sort();
}

test('every command is here, with three failures', () => {
  expect(Object.keys(matrix).sort()).toEqual(commandTable.map(({ name }) => name).sort());
  for (const { failures } of Object.values(matrix)) {
    expect(failures.length).toBeGreaterThanOrEqual(3);
  }
});

describe.each(Object.entries(matrix))('%s', (name, { happy, says, serves, failures }) => {
  test('help', async () => {
    const { code, stdout, stderr } = await millrace([name, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`Usage: millrace ${name}`);
    expect(stdout).toContain('Examples:');
  });

  test('happy path', async () => {
    const cwd = prepared();
    if (serves !== true) {
      const { code, stdout, stderr } = await millrace(filled(happy), { cwd });
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(says);
      return;
    }
    const child = startMillrace(filled(happy), { cwd });
    let output = '';
    await new Promise<void>((resolve, reject) => {
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (typeof says === 'string' ? output.includes(says) : says.test(output)) resolve();
      });
      child.once('exit', () => reject(new Error(`it ended: ${output}${child.stderr.read()}`)));
    });
    child.kill('SIGTERM');
    expect(await once(child, 'close')).toEqual([0, null]);
  });

  test.each(failures)('%j exits with %i', async (words, code, message) => {
    const cwd = prepared();
    const before = tree(cwd);
    const { stderr, ...result } = await millrace(filled(words), { cwd });
    expect(result.code, stderr).toBe(code);
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/^ {4}at /m);
    expect(tree(cwd)).toEqual(before);
  });
});
