import { expect, test } from 'vitest';
import { always, createLogger, type LogLevel } from './logger.js';

function logged(level: LogLevel) {
  const lines: string[] = [];
  return { lines, logger: createLogger(level, { write: (line) => lines.push(line) }) };
}

test('a bigint is logged, at any depth', () => {
  const { lines, logger } = logged('info');
  logger.info({ count: 2n ** 63n, nested: { list: [1n] } });
  expect(lines[0]).toContain('"count":9223372036854775808');
  expect(lines[0]).toContain('[1]');
});

test('what is logged is bounded in depth and breadth', () => {
  const { lines, logger } = logged('info');
  const circle: { inner?: object; wide: number[] } = { wide: new Array(10_000).fill(7) };
  circle.inner = circle;
  logger.info({ circle });
  expect(lines[0]!.length).toBeLessThan(10_000);
});

test.each<[LogLevel, number]>([
  ['trace', 1],
  ['info', 1],
  ['error', 1],
  ['fatal', 1],
  ['silent', 0],
])('at level %s the line that must not get lost is written %i times', (level, times) => {
  const { lines, logger } = logged(level);
  always(logger, { port: 1 }, 'listening');
  expect(lines).toHaveLength(times);
  for (const line of lines) {
    expect(JSON.parse(line)).toMatchObject({ level: 30, port: 1, msg: 'listening' });
  }
});
