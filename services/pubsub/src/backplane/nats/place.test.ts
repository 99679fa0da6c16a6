import { expect, test } from 'vitest';
import { deliverFrom, Place } from './place.js';

const stream = (created: string, first: number, last: number) =>
  ({ created, state: { first_seq: first, last_seq: last } }) as Parameters<Place['find']>[0];

test('in the stream that was read before it goes on behind the last event', () => {
  const place = new Place('a', 'earliest');
  expect(place.find(stream('a', 1, 10))).toEqual({ replaced: false, missed: 0 });
  expect(place.start).toBe('earliest');
  place.read({ sequence: 7, time: 1000 });
  expect(place.find(stream('a', 1, 10))).toEqual({ replaced: false, missed: 0 });
  expect(place.start).toEqual({ sequence: 8n });
  expect(deliverFrom(place.start)).toEqual({
    deliver_policy: 'by_start_sequence',
    opt_start_seq: 8,
  });
});

test('what was removed meanwhile is counted', () => {
  const place = new Place('a', { sequence: 8n });
  expect(place.find(stream('a', 12, 20))).toEqual({ replaced: false, missed: 4 });
  expect(place.start).toEqual({ sequence: 12n });
  // Everything has gone: the next event is the first again.
  expect(place.find(stream('a', 21, 20))).toEqual({ replaced: false, missed: 9 });
});

test.each([
  ['with fewer events', 3],
  ['with as many', 7],
  ['with more', 70],
])('another stream is read from its first event: one %s', (_what, last) => {
  const place = new Place('a', 'earliest');
  place.read({ sequence: 7, time: 1000 });
  expect(place.find(stream('b', 1, last))).toEqual({ replaced: true, missed: 0 });
  expect(place.start).toBe('earliest');
  expect(place.find(stream('b', 1, last))).toEqual({ replaced: false, missed: 0 });
});

test('of an earlier copy of the stream what is later than the last event is read', () => {
  const place = new Place('a', 'earliest');
  place.read({ sequence: 7, time: 1_700_000_000_000 });
  expect(place.find(stream('a', 1, 5))).toEqual({ replaced: true, missed: 0 });
  expect(deliverFrom(place.start)).toEqual({
    deliver_policy: 'by_start_time',
    opt_start_time: '2023-11-14T22:13:20.001Z',
  });
  // Without an event there is no time: with the next.
  const waiting = new Place('a', { sequence: 8n });
  expect(waiting.find(stream('a', 1, 5))).toEqual({ replaced: true, missed: 0 });
  expect(waiting.start).toEqual({ sequence: 6n });
});
