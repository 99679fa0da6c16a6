// Topics that retain events count them, and know what was published before.

import { duplicates, MillraceError } from 'millrace';
import { expect, test } from 'vitest';
import { take } from '../support/our-client.js';
import { numberOf, subscriber, topicsServer, uniqueName } from '../support/topics.js';

const retaining = { sequence: 'sequence', retention: { count: 3 } };

test('a retained event has the next sequence, which subscribers see; others have none', async () => {
  const { server, events, publish } = await topicsServer({}, retaining);
  const stream = subscriber(server).subscribe({ pattern: '>' });
  await stream.headers;
  expect(publish('a', 0).sequence).toBe(1n);
  expect(events.publish('a', { topic: 'a' }, { retain: false }).sequence).toBe(0n);
  expect(publish('a', 2, 100_000).sequence).toBe(2n);
  const seen = await take(stream, 3);
  expect(seen.map(({ sequence }) => sequence)).toEqual([1n, 0n, 2n]);
  expect(numberOf(seen[2]!)).toBe(2);
});

test('a sequence from elsewhere is published once', async () => {
  const { server, events } = await topicsServer({}, retaining);
  const stream = subscriber(server).subscribe({ pattern: '>' });
  await stream.headers;
  const publish = (sequence: bigint) => events.publish('a', { topic: 'a' }, { sequence });
  expect(publish(70n)).toEqual({ sequence: 70n, delivered: 1 });
  expect(publish(72n)).toEqual({ sequence: 72n, delivered: 1 });
  expect(publish(72n)).toEqual({ sequence: 72n, delivered: 0 });
  expect(publish(71n)).toEqual({ sequence: 71n, delivered: 1 });
  expect(events.publish('a', { topic: 'a' }).sequence).toBe(73n);
  const seen = await take(stream, 4);
  expect(seen.map(({ sequence }) => sequence)).toEqual([70n, 72n, 71n, 73n]);
  expect(events.stats()).toMatchObject({ retained: 3, evicted: 1, lastSequence: 73 });
});

test('nothing can be retained without a retention', async () => {
  const { events } = await topicsServer();
  expect(events.publish('a', {}).sequence).toBe(0n);
  expect(() => events.publish('a', {}, { retain: true })).toThrow(MillraceError);
});

test('an identifier is claimed once, under one name for the process', () => {
  const name = uniqueName('identifiers');
  const [here, there] = [duplicates(name), duplicates(name)];
  expect(here.claim('a')).toBeUndefined();
  expect(there.claim('a')).toBe(0n);
  here.settle('a', 2n ** 63n);
  expect(there.claim('a')).toBe(2n ** 63n);
  expect(there.claim('b')).toBeUndefined();
  there.release('b');
  expect(here.claim('b')).toBeUndefined();
  expect(duplicates(uniqueName('identifiers')).claim('a')).toBeUndefined();
  expect(here.forgotten()).toBe(0);
});
