import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SequenceSet } from './sequence-set.js';

const ranges = fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 6 })), {
  maxLength: 40,
});

test('it holds what a set of numbers holds, in the fewest ranges', () => {
  fc.assert(
    fc.property(ranges, (added) => {
      const set = new SequenceSet(1000);
      const model = new Set<number>();
      for (const [first, more] of added) {
        set.add(first, first + more);
        for (let each = first; each <= first + more; each++) model.add(each);
      }
      const flat: number[] = [];
      for (let each = 0; each <= 70; each++) {
        expect(set.has(each)).toBe(model.has(each));
        if (model.has(each) && !model.has(each - 1)) flat.push(each);
        if (model.has(each) && !model.has(each + 1)) flat.push(each);
      }
      expect(set.ranges()).toEqual(flat);
    }),
  );
});

test('beyond the bound the lowest ranges are forgotten', () => {
  const set = new SequenceSet(2);
  for (const each of [10, 1, 20, 30]) set.add(each);
  expect(set.ranges()).toEqual([20, 20, 30, 30]);
  expect(set.ranges(1)).toEqual([30, 30]);
  set.clear();
  expect(set.has(30)).toBe(false);
});
