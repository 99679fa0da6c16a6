import { expect, test } from 'vitest';
import { pretty, stamped } from './pretty.js';
import { reportOf, statsLine } from './stats-line.js';

const time = new Date(2030, 0, 2, 3, 4, 5, 67).getTime();

test('a line of the log, without what is the same in all', () => {
  const line = {
    level: 30,
    time,
    pid: 1,
    hostname: 'here',
    port: 50051,
    host: 'a b',
    msg: 'hello',
  };
  expect(pretty(JSON.stringify(line), false)).toBe(
    '03:04:05.067 info  hello port=50051 host="a b"',
  );
});

test('an error brings its stack', () => {
  const line = { level: 50, time, msg: 'failed', err: { stack: 'Error: no\n    at here' } };
  expect(pretty(JSON.stringify(line), false)).toBe(
    '03:04:05.067 error failed\n  Error: no\n      at here',
  );
});

test.each(['hello', '{"level":30', '{"a":1}', 'null', '"text"', '{"level":30,"time":"now"}'])(
  'what is no line of the log stays: %s',
  (line) => {
    expect(pretty(line, false)).toBe(line);
  },
);

test('colours', () => {
  const line = JSON.stringify({ level: 40, time, msg: 'careful' });
  expect(pretty(line, true)).toContain('\u001B[33mwarn \u001B[39m careful');
  expect(stamped('stats', 'text', true)).toMatch(/^\d\d:\d\d:\d\d\.\d{3} \S*stats\S* text$/);
});

test('statistics of what has come since, and nothing if nothing has', () => {
  const before = { calls: 10, callsFailed: 1, messagesReceived: 10, messagesSent: 9 };
  const now = { calls: 2510, callsFailed: 2, messagesReceived: 12, messagesSent: 9 };
  const gauges = { connections: 1, activeCalls: 3 };
  expect(reportOf(before, { ...before, ...gauges }, 10, 0)).toBeUndefined();
  const report = reportOf(before, { ...now, ...gauges }, 10, 61_400_000)!;
  expect(statsLine(report)).toBe(
    '250 calls/s, 1 failed; 0.2 messages/s in, 0 out; 1 connection, 3 calls open; 61 MB',
  );
});
