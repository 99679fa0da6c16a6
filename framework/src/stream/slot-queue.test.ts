import { expect, test } from 'vitest';
import { SlotQueue } from './slot-queue.js';

test('keeps its order while it wraps and grows', () => {
  const queue = new SlotQueue();
  const expected: number[] = [];
  let next = 0;
  for (let round = 0; round < 200; round++) {
    for (let count = round % 17; count > 0; count--) {
      queue.push(next);
      expected.push(next++);
    }
    for (let count = round % 13; count > 0 && queue.size > 0; count--) {
      expect(queue.shift()).toBe(expected.shift());
    }
    expect(queue.size).toBe(expected.length);
  }
  while (queue.size > 0) expect(queue.shift()).toBe(expected.shift());
  expect(expected).toEqual([]);
});

test('is empty after clear, and usable', () => {
  const queue = new SlotQueue();
  for (let slot = 0; slot < 5; slot++) queue.push(slot);
  queue.clear();
  queue.push(9);
  expect([queue.size, queue.shift()]).toEqual([1, 9]);
});
