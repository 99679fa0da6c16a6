import { PubSub, SlowConsumer } from '@millrace/pubsub';
import { Status } from 'millrace';
import { startTest } from 'millrace/testing';
import { expect, test } from 'vitest';
import { events } from '../src/services/events.js';

const payload = new TextEncoder().encode('sweep the floor');

test('an event reaches who subscribes, and later who wants it from the beginning', async () => {
  await using t = await startTest({ services: [events] });
  const client = t.client(PubSub);
  const live = client.subscribe({ pattern: 'replay.>' });
  await live.headers;
  const { sequence, delivered } = await client.publish({ topic: 'replay.first', payload });
  expect(delivered).toBe(1);
  const late = client.subscribe({
    pattern: 'replay.>',
    start: { at: { case: 'earliest', value: true } },
  });
  for (const subscription of [live, late]) {
    const { value } = await subscription.next();
    expect(value).toMatchObject({ topic: 'replay.first', payload, sequence });
  }
});

test('a job goes to one worker, and again to another when it is not acknowledged', async () => {
  await using t = await startTest({ services: [events] });
  const client = t.client(PubSub);
  const hire = async () => {
    const worker = client.consume();
    worker.write({ kind: { case: 'open', value: { pattern: 'jobs.>', group: 'workers' } } });
    await worker.headers;
    return worker;
  };
  const first = await hire();
  await client.publish({ topic: 'jobs.sweep', payload });
  const given = await first.next();
  expect(given.value).toMatchObject({ topic: 'jobs.sweep', deliveryAttempt: 1 });
  const second = await hire();
  first.cancel();
  const again = await second.next();
  expect(again.value).toMatchObject({ topic: 'jobs.sweep', deliveryAttempt: 2 });
  second.write({ kind: { case: 'ack', value: again.value?.sequence ?? 0n } });
  second.end();
});

test('a policy that is not allowed for the topic is refused', async () => {
  await using t = await startTest({ services: [events] });
  const blocking = t.client(PubSub).subscribe({
    pattern: 'news.>',
    slowConsumer: SlowConsumer.SLOW_CONSUMER_BLOCK,
  });
  await expect(blocking.next()).rejects.toMatchObject({ code: Status.FAILED_PRECONDITION });
});
