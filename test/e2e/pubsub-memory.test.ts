// What the memory backplane promises, and says of itself.

import { expect, test } from 'vitest';
import { consume, publish, pubSubClient } from '../support/pubsub-client.js';
import { servePubSub } from '../support/pubsub-server.js';
import { startServer } from '../support/server.js';

test('Consume says once in the log what it is worth, on however many threads', async () => {
  const server = await startServer({ threads: 2, services: 'pubsub' });
  // A connection lands on either thread.
  const consumers = Array.from({ length: 12 }, (_, index) =>
    consume(pubSubClient(server), { open: { pattern: '>', group: `group-${index % 3}` } }),
  );
  await Promise.all(consumers.map(({ headers }) => headers));
  const line = await server.log('what memory keeps', ({ event }) => event === 'consume_in_memory');
  expect(line).toMatchObject({
    level: 40,
    msg: expect.stringMatching(/at least once while this process lives.*use nats\(\) to keep them/),
  });
  const used = await Promise.all(
    [1, 2].map(
      (turn) =>
        consume(pubSubClient(server), { open: { pattern: '>', group: `late-${turn}` } }).headers,
    ),
  );
  expect(used).toHaveLength(2);
  // What is logged at the end comes behind whatever was logged before.
  server.signal('SIGTERM');
  await server.exited;
  expect(server.logs.filter(({ event }) => event === 'consume_in_memory')).toHaveLength(1);
});

test('a message_id is forgotten before its time beyond limits.messageIds, which is counted', async () => {
  const { port, events } = await servePubSub({ limits: { messageIds: 3 } });
  const client = pubSubClient({ port });
  const publishId = async (messageId: string) =>
    (await publish(client, { topic: 'a', messageId })).duplicate;
  for (const id of ['1', '2', '3']) expect(await publishId(id)).toBe(false);
  for (const id of ['1', '2', '3']) expect(await publishId(id)).toBe(true);
  expect(events.stats().backplane).toMatchObject({ messageIdsForgotten: 0 });
  expect(await publishId('4')).toBe(false);
  expect(events.stats().backplane).toMatchObject({ messageIdsForgotten: 1 });
  expect(await publishId('1')).toBe(false);
  expect(await publishId('4')).toBe(true);
  expect(events.stats()).toMatchObject({ published: 5, duplicates: 4 });
});
