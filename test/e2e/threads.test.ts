// Threads share the port: each takes its part of the connections.

import { expect, test } from 'vitest';
import { clientOf, echoClient, say } from '../support/echo-client.js';
import { startEcho, startServer } from '../support/server.js';

const CONNECTIONS = 64;
const CALLS = 20;

test('two threads, 64 connections: each serves at least a quarter', async () => {
  const server = await startServer({ threads: 2 });
  const start = await server.stats();
  expect(start.threads.length).toBe(2);
  const clients = Array.from({ length: CONNECTIONS }, () => echoClient(server.port));
  await Promise.all(
    clients.map(async (client, number) => {
      for (let count = 0; count < CALLS; count++) {
        const text = `${number}/${count}`;
        expect((await say(client, { text })).text).toBe(text);
      }
    }),
  );
  const { threads } = await server.stats();
  const served = threads.map((thread) => Number(thread['callsOk']));
  expect(served.reduce((sum, calls) => sum + calls)).toBe(CONNECTIONS * CALLS);
  for (const calls of served) expect(calls).toBeGreaterThanOrEqual((CONNECTIONS * CALLS) / 4);
  for (const client of clients) client.close();
  await server.backAt(start);
});

test('the example with THREADS=2 serves and drains', async () => {
  const { process: echo, port } = await startEcho({ THREADS: '2' });
  const clients = Array.from({ length: 16 }, () => clientOf({ port }));
  const replies = await Promise.all(
    clients.map((client, number) => say(client, { text: `${number}` })),
  );
  expect(replies.map(({ text }) => text)).toEqual(clients.map((_, number) => `${number}`));
  echo.signal('SIGTERM');
  expect(await echo.exited).toEqual({ code: 0, signal: null });
});
