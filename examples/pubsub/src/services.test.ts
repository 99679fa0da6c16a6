import { PubSub, SlowConsumer } from '@millrace/pubsub';
import { Status } from 'millrace';
import { startTest, type TestServer } from 'millrace/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { description, events, status } from './services.js';

const payload = new TextEncoder().encode('hello');

let t: TestServer;

beforeAll(async () => {
  t = await startTest({ services: [events, status, description] });
});

afterAll(() => t.close());

test('an event reaches the subscribers whose pattern matches', async () => {
  const client = t.client(PubSub);
  const [near, far] = ['greetings.*', 'greetings.>'].map((pattern) =>
    client.subscribe({ pattern }),
  );
  await Promise.all([near?.headers, far?.headers]);
  expect(await client.publish({ topic: 'greetings.en.uk', payload })).toMatchObject({
    delivered: 1,
  });
  expect(await client.publish({ topic: 'greetings.en', payload })).toMatchObject({ delivered: 2 });
  const first = await near?.next();
  expect(first?.value).toMatchObject({ topic: 'greetings.en', payload });
});

test('every policy is allowed', async () => {
  for (const slowConsumer of Object.values(SlowConsumer)) {
    const events = t.client(PubSub).subscribe({ pattern: 'policies', slowConsumer });
    await events.headers;
    const { delivered } = await t.client(PubSub).publish({ topic: 'policies', payload });
    expect(delivered).toBe(1);
    await events.next();
    await events.return();
    await ended();
  }
});

/** Waits until nobody subscribes to the topic any more. */
async function ended(): Promise<void> {
  await expect
    .poll(async () => (await t.client(PubSub).publish({ topic: 'policies', payload })).delivered)
    .toBe(0);
}

test('what is live is not kept', async () => {
  const client = t.client(PubSub);
  expect(await client.publish({ topic: 'live.price', payload })).toMatchObject({ sequence: 0n });
  const replay = client.subscribe({
    pattern: 'live.price',
    start: { at: { case: 'earliest', value: true } },
  });
  await expect(replay.next()).rejects.toMatchObject({ code: Status.FAILED_PRECONDITION });
});
