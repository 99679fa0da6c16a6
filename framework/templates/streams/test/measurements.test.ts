import { Status } from 'millrace';
import { settled, slowConsumer, startTest } from 'millrace/testing';
import { expect, test } from 'vitest';
import { Measurements } from '../src/gen/measurements/v1/measurements.js';
import { measurements } from '../src/services/measurements.js';

test('Record takes in a stream, and Latest knows its last value', async () => {
  await using t = await startTest({ services: [measurements] });
  const client = t.client(Measurements);
  const sent = [1, 2, 3].map((value) => ({ sensor: 'roof', value }));
  expect(await client.record(sent)).toEqual({ count: 3 });
  expect(await client.latest({ sensor: 'roof' })).toEqual({ sensor: 'roof', value: 3 });
});

test('Latest of a sensor that nobody knows is NOT_FOUND', async () => {
  await using t = await startTest({ services: [measurements] });
  const call = t.client(Measurements).latest({ sensor: 'cellar' });
  await expect(call).rejects.toMatchObject({ code: Status.NOT_FOUND });
});

test('Simulate sends as many as were asked for', async () => {
  await using t = await startTest({ services: [measurements] });
  let count = 0;
  for await (const _ of t.client(Measurements).simulate({ sensor: 'roof', count: 1000 })) count++;
  expect(count).toBe(1000);
});

test('Simulate refuses to send none', async () => {
  await using t = await startTest({ services: [measurements] });
  const replies = t.client(Measurements).simulate({ sensor: 'roof', count: 0 });
  await expect(replies.next()).rejects.toMatchObject({ code: Status.INVALID_ARGUMENT });
});

test('Simulate waits for a slow reader', async () => {
  await using t = await startTest({ services: [measurements] });
  const replies = t.client(Measurements).simulate({ sensor: 'roof', count: 1_000_000 });
  const slow = slowConsumer(replies);
  await slow.read(3);
  const sent = await settled(async () => (await t.server.stats()).total.messagesSent);
  expect(sent).toBeLessThan(1_000_000);
});

test('Average answers each message as it comes', async () => {
  await using t = await startTest({ services: [measurements] });
  const sent = [1, 2, 6].map((value) => ({ sensor: 'roof', value }));
  const means = [];
  for await (const { mean } of t.client(Measurements).average(sent)) means.push(mean);
  expect(means).toEqual([1, 1.5, 3]);
});
