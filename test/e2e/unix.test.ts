// Servers on Unix sockets.

import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import {
  assertEchoed,
  chat,
  clientOf,
  collect,
  type EchoClient,
  expand,
  grpc,
  say,
} from '../support/echo-client.js';
import { eventually } from '../support/eventually.js';
import { all, ourClient, ourConnection, statusOf } from '../support/our-client.js';
import { startServer, type TestServer } from '../support/server.js';
import { type Stats, total } from '../support/stats.js';

function socketPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-unix-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, 'x.sock');
}

const start = (path: string, serve: object = {}, threads = 1): Promise<TestServer> =>
  startServer({ serve: { path, ...serve }, threads });

const data = Buffer.alloc(100_000, 7);
const messages = Array.from({ length: 30 }, (_, index) => ({ text: `${index}`, data }));

async function expectAllKinds(client: EchoClient): Promise<void> {
  expect((await say(client, { text: 'x', data })).data.equals(data)).toBe(true);
  expect(await collect(client, messages)).toMatchObject({ count: '30', bytes: '3000000' });
  expect((await expand(client, { text: 'x', count: 5 })).length).toBe(5);
  assertEchoed(await chat(client, 'chat', messages), messages);
}

/** What a handler sees as its peer. */
function peerSeen(client: EchoClient): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const metadata = new grpc.Metadata();
    metadata.set('mode', 'metadata');
    const call = client.say({}, metadata, {}, (error) => error !== null && reject(error));
    call.on('status', ({ metadata: trailers }) => resolve(trailers.get('x-peer')[0]));
  });
}

const names: [string, () => { path: string; target: string }][] = [
  [
    'a file',
    () => {
      const path = socketPath();
      return { path, target: `unix:${path}` };
    },
  ],
  [
    'an abstract name',
    () => {
      const target = `unix-abstract:millrace-${process.pid}-${Date.now()}`;
      return { path: target, target };
    },
  ],
];

test.each(names)('%s: every kind of call; the log names it; no warning', async (kind, make) => {
  const { path, target } = make();
  const server = await start(path);
  const line = await server.log('listening', ({ msg }) => msg === 'listening');
  expect(line['path']).toBe(target);
  expect(line).not.toHaveProperty('port');

  const ours = ourClient(target);
  expect((await ours.say({ text: 'ours' })).text).toBe('ours');
  const echoed = await all(ours.chat(messages));
  expect(echoed.map(({ text }) => text)).toEqual(messages.map(({ text }) => text));
  // grpc-js speaks to files only.
  if (kind === 'a file') {
    const client = clientOf({ port: target });
    await expectAllKinds(client);
    expect(await peerSeen(client)).toBe('unix:');
  }
  expect(server.logs.filter(({ level }) => level >= 40)).toEqual([]);
});

test('the file has the mode that was asked for, and goes when the server closes', async () => {
  const path = socketPath();
  const server = await start(path, { pathMode: 0o600 });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await server.close();
  expect(existsSync(path)).toBe(false);
});

test('the file of a server that was killed is replaced', async () => {
  const path = socketPath();
  const killed = await start(path);
  killed.signal('SIGKILL');
  await killed.exited;
  expect(existsSync(path)).toBe(true);
  await start(path);
  expect((await ourClient(`unix:${path}`).say({ text: 'x' })).text).toBe('x');
});

test('a path in use is an error that names it, and its user goes on', async () => {
  const path = socketPath();
  await start(path);
  await expect(start(path)).rejects.toThrow(
    `cannot listen on unix:${path}: another server listens there; stop it, or choose another path`,
  );
  expect((await ourClient(`unix:${path}`).say({ text: 'x' })).text).toBe('x');
  const file = `${path}.txt`;
  writeFileSync(file, 'precious');
  await expect(start(file)).rejects.toThrow('there is a file of that name that is no socket');
  expect(existsSync(file)).toBe(true);
});

const accepted = (stats: Stats) =>
  stats.threads.map((thread) => thread['connectionsAccepted'] as number);

test('threads deal the connections among themselves', async () => {
  const path = socketPath();
  const server = await start(path, {}, 2);
  const open = Array.from({ length: 32 }, () => ourConnection(`unix:${path}`));
  await Promise.all(open.map(({ client }) => client.say({ text: 'x' })));
  // Both count while both accept, so that one may be off by one.
  const before = accepted(await server.stats());
  expect(Math.min(...before)).toBeGreaterThanOrEqual(14);
  const streams = open.map(({ client }) => all(client.chat(messages)));
  for (const replies of await Promise.all(streams)) expect(replies.length).toBe(messages.length);
  await Promise.all(open.map(({ connection }) => connection.close()));
  await eventually('nothing is open', async () => total(await server.stats(), 'connections') === 0);
  // Whoever has fewer at that moment gets the next.
  const held = ourConnection(`unix:${path}`);
  await held.client.say({ text: 'x' });
  const other = ourConnection(`unix:${path}`);
  await other.client.say({ text: 'x' });
  expect(accepted(await server.stats())).toEqual(before.map((count) => count + 1));
});

test('threads share the socket, and one that dies leaves it to the others', async () => {
  const path = socketPath();
  const server = await start(path, {}, 2);
  const target = `unix:${path}`;
  for (let round = 0; round < 30; round++) {
    const { client, connection } = ourConnection(target);
    expect((await client.say({ text: `${round}` })).text).toBe(`${round}`);
    await connection.close();
  }
  const stats = await server.stats();
  expect(stats.threads.length).toBe(2);
  expect(total(stats, 'connectionsAccepted')).toBe(30);

  const dying = ourClient(target);
  expect((await statusOf(dying.say({}, { metadata: { mode: 'exit:1' } }))).code).toBe(14);
  // Until it is gone it may still take connections, and leave them.
  await server.logMatching(/a server thread died/);
  expect((await ourClient(target).say({ text: 'x' })).text).toBe('x');
  await eventually('it was replaced', async () => accepted(await server.stats()).length === 2);
  expect((await ourClient(target).say({ text: 'x' })).text).toBe('x');
  await server.close();
  expect(existsSync(path)).toBe(false);
});
