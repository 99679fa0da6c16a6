// What a channel keeps: old addresses while the name cannot be looked up, and no call that is over.

import { once } from 'node:events';
import { createServer } from 'node:net';
import type * as grpc from '@grpc/grpc-js';
import { Status } from 'millrace';
import { expect, onTestFinished, test, vi } from 'vitest';
import { eventually } from '../support/eventually.js';
import { honest, startForeign } from '../support/foreign-server.js';
import { ourConnection, statusOf } from '../support/our-client.js';

/** Timers that keep the process alive. */
function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
}

test('while the name cannot be looked up, its old addresses serve', async () => {
  const { port, server } = await startForeign(honest);
  vi.useFakeTimers({ toFake: ['performance'], now: performance.now() });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  let lookups = 0;
  const { client, connection } = ourConnection(`dns:name.test:${port}`, {
    lookup: async () => {
      if (++lookups > 1) throw Object.assign(new Error('no answer'), { code: 'EAI_AGAIN' });
      return ['127.0.0.1'];
    },
  });
  expect((await client.say({ text: 'a' })).text).toBe('a');
  vi.advanceTimersByTime(60_000);
  server.forceShutdown();
  await eventually('a lookup', () => lookups === 2);
  await startForeign(honest, port);
  expect((await client.say({ text: 'b' })).text).toBe('b');
  expect(connection.state).toBe('ready');
});

test('calls that end while they wait for a connection are not kept', async () => {
  // Takes connections, and says nothing.
  const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  const { port } = server.address() as { port: number };
  const { client, connection } = ourConnection(port);
  const before = timers();
  const calls = Array.from({ length: 100 }, () => client.say({}, { timeoutMs: 20 }));
  for (const call of calls) {
    expect((await statusOf(call)).code).toBe(Status.DEADLINE_EXCEEDED);
  }
  expect(connection.stats().callsWaiting).toBe(0);
  // Nothing keeps the process alive for them: neither a timer of theirs nor one of the channel's.
  expect(timers()).toBeLessThanOrEqual(before);
});

test('a drain without a limit waits for the calls', async () => {
  let answer: (() => void) | undefined;
  const { port } = await startForeign({
    ...honest,
    say(call: grpc.ServerUnaryCall<object, object>, callback: grpc.sendUnaryData<object>) {
      answer = () => callback(null, call.request);
    },
  });
  const { client, connection } = ourConnection(port);
  const reply = client.say({ text: 'late' });
  await eventually('the call', () => answer !== undefined);
  const closed = connection.close(Number.POSITIVE_INFINITY);
  await new Promise((resolve) => setTimeout(resolve, 50));
  answer?.();
  expect((await reply).text).toBe('late');
  await closed;
});
