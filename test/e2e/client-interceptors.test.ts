// A call behind interceptors ends as one without them does.

import { getEventListeners } from 'node:events';
import type * as grpc from '@grpc/grpc-js';
import { Status } from 'millrace';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { honest, startForeign } from '../support/foreign-server.js';
import { all, ourClient, statusOf } from '../support/our-client.js';

test('a signal that many calls share is not held on to by those that are over', async () => {
  const { port } = await startForeign(honest);
  const client = ourClient(port, { interceptors: [(call, next) => next(call)] });
  const { signal } = new AbortController();
  for (let index = 0; index < 5; index++) {
    await client.say({}, { signal });
    await all(client.expand({ count: 2, text: 'x' }, { signal }));
    await statusOf(client.say({ text: '' }, { signal, timeoutMs: 0 }));
  }
  await eventually('no listener', () => getEventListeners(signal, 'abort').length === 0);
});

test('behind interceptors, too, what is written to a call that is over is dropped', async () => {
  const { port } = await startForeign({
    ...honest,
    chat(call: grpc.ServerDuplexStream<object, object>) {
      call.emit('error', { code: 9, details: 'not now' });
    },
  });
  const client = ourClient(port, { interceptors: [(call, next) => next(call)] });
  const call = client.chat();
  call.write({ text: 'a' });
  expect((await statusOf(call.next())).code).toBe(Status.FAILED_PRECONDITION);
  // The first wakes whoever reads behind the interceptors, and he leaves.
  for (const _ of [1, 2, 3]) {
    call.write({ text: 'late' });
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(call.write({ text: 'late' })).toBe(false);
  await expect(call.writable()).rejects.toThrow();
});
