// A client's time limits hold to the millisecond, not to the next time somebody looks.

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { ourClient, statusOf } from '../support/our-client.js';

test('connections to a server that says nothing fail in the order of their time limits', async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  onTestFinished(() => {
    silent.close();
    for (const socket of sockets) socket.destroy();
  });
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;

  const order: number[] = [];
  // The engine looks at all of its connections every 500 ms, in the order in which they were made.
  const calls = [450, 50, 250].map(async (connectTimeoutMs) => {
    const error = await statusOf(ourClient(port, { connectTimeoutMs }).say({}));
    expect(error.message).toContain(`sent no HTTP/2 SETTINGS within ${connectTimeoutMs} ms`);
    order.push(connectTimeoutMs);
  });
  await Promise.all(calls);
  expect(order).toEqual([50, 250, 450]);
});
