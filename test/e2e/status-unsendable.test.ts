// A status that cannot be sent whole ends its call all the same, and not the process: what makes it too large may
// come from the peer.

import { type Context, Metadata, Status, StatusError } from 'millrace';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { servePubSub, subscriber, topicsServer } from '../support/topics.js';

/** More than the arena has. */
const LARGE = 8 * 1024 * 1024;

/** An error with a detail that is none. */
const illegal = () =>
  new StatusError(Status.NOT_FOUND, 'the room is gone', {
    details: [{ typeUrl: 'x/y', value: 'no bytes' as never }],
  });

const refused = (issues: number) => ({
  '~standard': {
    version: 1 as const,
    vendor: 'test',
    validate: () => ({
      issues: Array.from({ length: issues }, (_, index) => ({
        message: 'has to be shorter',
        path: ['items', index],
      })),
    }),
  },
});

test.each([
  [
    'a message larger than the arena',
    () => {
      throw new StatusError(Status.NOT_FOUND, `no topic ${'x'.repeat(LARGE)}`);
    },
    Status.NOT_FOUND,
    /^no topic x+$/,
  ],
  [
    'the same of an asynchronous handler',
    async () => {
      await Promise.resolve();
      throw new StatusError(Status.NOT_FOUND, `no topic ${'x'.repeat(LARGE)}`);
    },
    Status.NOT_FOUND,
    /^no topic x+$/,
  ],
  [
    'a detail that is none',
    () => {
      throw illegal();
    },
    Status.NOT_FOUND,
    /^the room is gone$/,
  ],
  [
    'metadata larger than the arena',
    () => {
      const metadata = new Metadata();
      metadata.set('large', 'x'.repeat(LARGE));
      throw new StatusError(Status.NOT_FOUND, 'no such topic', { metadata });
    },
    Status.NOT_FOUND,
    /^no such topic$/,
  ],
  [
    'a request with very many faults',
    { input: refused(200_000), handler: () => ({}) },
    Status.INVALID_ARGUMENT,
    /^invalid request: items\[0\]: has to be shorter \(and 199999 more\)$/,
  ],
])('%s', async (_what, publish, code, message) => {
  const server = await servePubSub({ publish });
  const client = subscriber(server);
  for (let round = 0; round < 2; round++) {
    const call = client.publish({ topic: 'a' }, { timeoutMs: 10_000 });
    await expect(call).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    });
  }
  await eventually('no call is left', async () => {
    const { total } = await server.stats();
    return total['handlersRunning'] === 0;
  });
});

test('a stream that ends well, but for its trailers', async () => {
  const server = await servePubSub({
    async *subscribe(_request: unknown, ctx: Context) {
      ctx.trailers.set('large', 'x'.repeat(LARGE));
      yield {};
    },
  });
  const stream = subscriber(server).subscribe({ pattern: 'a' }, { timeoutMs: 10_000 });
  await stream.next();
  await expect(stream.next()).rejects.toMatchObject({ code: Status.INTERNAL });
});

test('topics that are closed with such an error end all their subscriptions', async () => {
  const { server, events } = await topicsServer();
  const client = subscriber(server);
  const streams = [client.subscribe({ pattern: '>' }), client.subscribe({ pattern: 'a' })];
  for (const stream of streams) await stream.headers;
  events.close(illegal());
  expect(() => events.stats()).toThrow('MILLRACE_TOPICS_CLOSED');
  for (const stream of streams) {
    await expect(stream.next()).rejects.toMatchObject({
      code: Status.NOT_FOUND,
      message: expect.stringContaining('the room is gone') as string,
    });
  }
});
