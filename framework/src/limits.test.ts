import { expect, test } from 'vitest';
import { checkLimits, limitTable } from './limits.js';

test('every default is valid, and given limits pass as they are', () => {
  const defaults = Object.fromEntries(
    Object.entries(limitTable).map(([name, limit]) => [name, limit.default]),
  );
  expect(checkLimits(defaults)).toEqual(defaults);
  expect(checkLimits({})).toEqual({ sendMessageBytes: 4 * 1024 * 1024 });
});

test.each([
  [{ ringBuffer: 1 }, 'MILLRACE_OPTION_INVALID', 'there is no limit "ringBuffer"'],
  [{ toString: 1 }, 'MILLRACE_OPTION_INVALID', 'there is no limit "toString"'],
  [{ ringBuffers: 100 }, 'MILLRACE_OPTION_INVALID', 'power of two'],
  [{ ringBuffers: 8 }, 'MILLRACE_OPTION_INVALID', 'from 16 to 32768'],
  [{ ringBufferBytes: 1500 }, 'MILLRACE_OPTION_INVALID', 'multiple of 1,024'],
  [{ concurrentCalls: '5' }, 'MILLRACE_OPTION_INVALID', 'concurrentCalls is "5"'],
  [{ concurrentCalls: 0.5 }, 'MILLRACE_OPTION_INVALID', 'whole number'],
  [{ concurrentCalls: 70_000 }, 'MILLRACE_OPTION_INVALID', '65536'],
  [{ streamWindowBytes: 1 << 20 }, 'MILLRACE_LIMITS_CONFLICT', 'streamWindowBytesMax'],
  [{ bufferedBytesMax: 2 << 20 }, 'MILLRACE_LIMITS_CONFLICT', 'receiveMessageBytes'],
])('%j is %s', (limits, code, text) => {
  expect(() => checkLimits(limits)).toThrow(code);
  expect(() => checkLimits(limits)).toThrow(text);
});
