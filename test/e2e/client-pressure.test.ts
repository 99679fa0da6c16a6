// Many streams of one connection: together they fill it, and each of them waits for it.

import { expect, test } from 'vitest';
import { ourClient } from '../support/our-client.js';
import { startServer } from '../support/server.js';

test('streams that fill their connection together are pulled on when it has room', async () => {
  const { port } = await startServer();
  const client = ourClient(port);
  const requests = Array.from({ length: 10 }, () => ({ data: new Uint8Array(300_000) }));
  // Several are told in one batch that they may write, and the first of them fill the connection again
  // before the others get to it.
  const received = await Promise.all(
    Array.from({ length: 30 }, async () => {
      let count = 0;
      for await (const reply of client.chat(requests)) count += reply.data.length / 300_000;
      return count;
    }),
  );
  expect(new Set(received)).toEqual(new Set([requests.length]));
});
