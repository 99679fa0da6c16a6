// The ledger of the endurance test finds what it is there to find.

import { expect, test, vi } from 'vitest';
import { type Entry, Kind } from '../endurance/diary.js';
import { consumerState, Ledger } from '../endurance/ledger.js';

const TOPIC = 16;

/** Two consumers of four events of one topic, 0, 16, 32 and 48, with the sequences 1 to 4. */
function begun() {
  const said: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    said.push(String(text));
    return true;
  });
  const ledger = new Ledger(4 * TOPIC);
  const [one, other] = [consumerState('one'), consumerState('other')];
  let time = 1000;
  const entry = (kind: Kind, sequence: number, attempt = 0): Entry => {
    const event = (sequence - 1) * TOPIC;
    return { kind, attempt, event, sequence, time: ++time };
  };
  const deliver = (to: typeof one, sequence: number, attempt = 1) =>
    ledger.enter(to, entry(Kind.DELIVERED, sequence, attempt));
  const acknowledge = (from: typeof one, sequence: number) =>
    ledger.enter(from, entry(Kind.ACKNOWLEDGING, sequence));
  const publish = (...sequences: number[]) => {
    for (const sequence of sequences) {
      ledger.publishing((sequence - 1) * TOPIC, ++time);
      ledger.published((sequence - 1) * TOPIC, sequence, false);
    }
  };
  /** @param pending what nats-server has not heard to be acknowledged */
  const kill = (consumer: typeof one, pending = 0) => {
    const rest = consumer === one ? other : one;
    ledger.kill([consumer], [rest], pending, ++time);
    ledger.over(consumer);
    ledger.restarted(++time);
    time += 1000;
  };
  const wrong = () => {
    vi.restoreAllMocks();
    return said.map((text) => text.trim());
  };
  return { ledger, one, other, deliver, acknowledge, publish, kill, wrong };
}

test('nothing is wrong where everything is acknowledged in its order', () => {
  const { one, other, deliver, acknowledge, publish, wrong, ledger } = begun();
  publish(1, 2, 3, 4);
  for (const sequence of [1, 3]) deliver(one, sequence);
  for (const sequence of [2, 4]) deliver(other, sequence);
  for (const sequence of [1, 3]) acknowledge(one, sequence);
  for (const sequence of [2, 4]) acknowledge(other, sequence);
  expect(ledger).toMatchObject({
    redeliveries: 0,
    publishedCount: 4,
    acknowledgedCount: 4,
  });
  expect(wrong()).toEqual([]);
});

test('an event that no consumer has acknowledged', () => {
  const { ledger, one, deliver, publish, wrong } = begun();
  publish(2);
  deliver(one, 2);
  ledger.check();
  expect(wrong().filter((line) => line.includes('event 16'))).toEqual([
    'WRONG: event 16, sequence 2, was acknowledged to its publisher and by no consumer (delivered 1 times)',
  ]);
});

test.each([
  [2, 'are right', []],
  [
    3,
    'are too many',
    [expect.stringContaining('3 redeliveries, more than twice the 1 that were unacknowledged')],
  ],
])('of one unacknowledged event %i redeliveries %s', (redeliveries, _what, expected) => {
  const { ledger, one, other, deliver, acknowledge, publish, kill, wrong } = begun();
  publish(1, 2, 3);
  for (const sequence of [1, 2, 3]) deliver(one, sequence);
  for (const sequence of [1, 2]) acknowledge(one, sequence);
  kill(one);
  // 3 was unacknowledged; 1 and 2 had been acknowledged.
  for (const sequence of [3, 1, 2].slice(0, redeliveries)) deliver(other, sequence, 2);
  ledger.check();
  expect(ledger).toMatchObject({ redeliveries, unacknowledged: 1 });
  expect(wrong().filter((line) => line.includes('redeliveries'))).toEqual(expected);
});

test('an acknowledgement on its way to nats-server is none yet, what others have is not counted', () => {
  const { ledger, one, other, deliver, acknowledge, publish, kill, wrong } = begun();
  publish(1, 2, 3, 4);
  for (const sequence of [1, 2]) deliver(one, sequence);
  for (const sequence of [3, 4]) deliver(other, sequence);
  acknowledge(one, 1);
  // Of these four two are the other's, and 1 has not arrived.
  kill(one, 4);
  expect(ledger.unacknowledged).toBe(2);
  // Fewer than one has: nats-server may have forgotten deliveries.
  kill(other, 0);
  expect(ledger.unacknowledged).toBe(4);
  expect(wrong()).toEqual([]);
});

test('an event behind a later one of its topic, whatever attempt it is said to be', () => {
  const { one, deliver, publish, wrong } = begun();
  publish(1, 2, 3);
  deliver(one, 3);
  deliver(one, 1, 1);
  deliver(one, 2, 2);
  expect(wrong()).toEqual([
    'WRONG: one was given 1 of topic 0 after 3, which nobody had before',
    'WRONG: one was given 1 of topic 0 after 3, as a first delivery',
    'WRONG: one was given 2 of topic 0 after 3, which nobody had before',
  ]);
});

test('what was in the hands of something that was killed may come late, what was published since may not', () => {
  const { one, other, deliver, publish, kill, wrong } = begun();
  publish(1, 2);
  deliver(other, 2);
  kill(other);
  publish(3, 4);
  deliver(one, 4);
  deliver(one, 2, 2);
  deliver(one, 1, 2);
  deliver(one, 3, 2);
  expect(wrong()).toEqual(['WRONG: one was given 3 of topic 0 after 4, which nobody had before']);
});

test('what was written before the last kill and is read after it', () => {
  const { ledger, one, other, deliver, publish, kill, wrong } = begun();
  publish(1, 2);
  deliver(one, 2);
  kill(other);
  ledger.kill([other], [one], 0, 5000);
  deliver(one, 1, 2);
  expect(wrong()).toEqual([]);
});
