// What a call keeps of the engine is given back when nobody wants it any more.

import { Status } from 'millrace';
import { expect, test } from 'vitest';
import { honest, startForeign } from '../support/foreign-server.js';
import { ourConnection, statusOf } from '../support/our-client.js';

test('cancelling a stream that has ended lets go of what is unread', async () => {
  const { port } = await startForeign(honest);
  const { client, connection } = ourConnection(port);
  const call = client.expand({ count: 3, text: 'unread' });
  await call.trailers;
  expect(connection.stats().callsUnderWay).toBe(1);
  call.cancel();
  expect(connection.stats().callsUnderWay).toBe(0);
  expect((await statusOf(call.next())).code).toBe(Status.CANCELLED);
});
