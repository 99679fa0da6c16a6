// Servers on sockets that another process opened.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { type AddressInfo, createServer, type ListenOptions } from 'node:net';
import { fileURLToPath } from 'node:url';
import { openListener } from '@millrace/native';
import { expect, onTestFinished, test } from 'vitest';
import { all, ourClient } from '../support/our-client.js';
import { ServerProcess, startServer } from '../support/server.js';

interface Listener {
  readonly descriptor: number;
  readonly port: number;
  /** Here: it goes on listening in a process that was given it. */
  close(): void;
}

/** Listens, and does not block. */
async function listener(options: ListenOptions): Promise<Listener> {
  const server = createServer();
  onTestFinished(() => void server.close());
  await once(server.listen(options), 'listening');
  return {
    // Node.js has no public name for it.
    descriptor: (server as unknown as { _handle: { fd: number } })._handle.fd,
    port: (server.address() as AddressInfo).port,
    close: () => void server.close(),
  };
}

const numbers = Array.from({ length: 20 }, (_, index) => ({ text: `${index}` }));

async function expectServed(target: string | number): Promise<void> {
  const client = ourClient(target);
  expect((await client.say({ text: 'unary' })).text).toBe('unary');
  expect((await all(client.chat(numbers))).map(({ text }) => text)).toEqual(
    numbers.map(({ text }) => text),
  );
}

test.each([1, 2])('a TCP socket, threads: %i', async (threads) => {
  const socket = await listener({ host: '127.0.0.1', port: 0 });
  const { port } = socket;
  const server = await startServer({
    inherited: socket.descriptor,
    serve: { descriptor: 4 },
    threads,
  });
  socket.close();
  expect(server.port).toBe(port);
  expect(await server.logMatching(/"listening"/)).toMatchObject({ host: '127.0.0.1', port });
  await Promise.all(Array.from({ length: 6 }, () => expectServed(port)));
  expect(await server.close()).toEqual({ completed: 0, aborted: 0 });
});

test.runIf(process.platform === 'linux')('a Unix socket, two threads', async () => {
  // As long as a name may be: early releases of Node.js 20 fill it up.
  const name = `millrace-descriptor-${process.pid}`.padEnd(107, '-');
  const socket = await listener({ path: `\0${name}` });
  const server = await startServer({
    inherited: socket.descriptor,
    serve: { descriptor: 4 },
    threads: 2,
  });
  socket.close();
  expect(await server.logMatching(/"listening"/)).toMatchObject({ path: `unix-abstract:${name}` });
  await expectServed(`unix-abstract:${name}`);
});

test('who connects while nobody accepts is answered by the next server', async () => {
  const descriptor = openListener('127.0.0.1', 0, 16);
  onTestFinished(() => closeSync(descriptor));
  const start = () => startServer({ inherited: descriptor, serve: { descriptor: 4 } });
  const first = await start();
  await first.close();
  const waiting = expectServed(first.port);
  await start();
  await waiting;
});

/** The example service, as a service manager starts it: `pid` is what LISTEN_PID says. */
function activate({ descriptor }: Listener, pid: string): ServerProcess {
  const main = fileURLToPath(new URL('../../examples/echo/dist/main.js', import.meta.url));
  const script = `LISTEN_FDS=1 LISTEN_PID=${pid} exec "$0" "$1"`;
  const child = spawn('sh', ['-c', script, process.execPath, main], {
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe', descriptor],
  });
  return new ServerProcess(child);
}

test('LISTEN_FDS and LISTEN_PID go before what the program says', async () => {
  const socket = await listener({ host: '127.0.0.1', port: 0 });
  const { port } = socket;
  const server = activate(socket, '$$');
  const line = await server.log('listening', ({ msg }) => msg === 'listening');
  socket.close();
  expect(line['port']).toBe(port);
  await expectServed(port);
});

test('what LISTEN_FDS gave to one server is there for the next, also after one that failed', async () => {
  const { descriptor, port } = await listener({ host: '127.0.0.1', port: 0 });
  const script = `
    import { serve } from 'millrace';
    const options = { services: [], log: { level: 'silent' }, port: 0 };
    await serve({ ...options, services: new URL('file:///no-such-module.js') }).catch(() => {});
    for (let round = 0; round < 2; round++) {
      const server = await serve(options);
      console.log(server.port);
      await server.close();
    }`;
  const command = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" --input-type=module --eval "$1"';
  const child = spawn('sh', ['-c', command, process.execPath, script], {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'pipe', 'inherit', descriptor],
  });
  const said: string[] = [];
  child.stdout!.setEncoding('utf8').on('data', (text: string) => said.push(text));
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(said.join('')).toBe(`${port}\n${port}\n`);
});

test('LISTEN_PID of another process is not for this one', async () => {
  const socket = await listener({ host: '127.0.0.1', port: 0 });
  const server = activate(socket, '1');
  const line = await server.log('listening', ({ msg }) => msg === 'listening');
  expect(line['port']).not.toBe(socket.port);
  await expectServed(Number(line['port']));
});

test.each([
  [4, 'it is no socket'],
  [900, 'give the number of an open socket'],
])('descriptor %i: %s', async (descriptor, says) => {
  await expect(startServer({ serve: { descriptor } })).rejects.toThrow(says);
});
