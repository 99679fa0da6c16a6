import { expect, test } from 'vitest';
import { shortTrace } from './short-trace.js';

function failed(message: string, frames: string[], cause?: unknown): Error {
  const error = new Error(message, cause === undefined ? undefined : { cause });
  error.stack = [`Error: ${message}`, ...frames.map((frame) => `    at ${frame}`)].join('\n');
  return error;
}

test('frames of the project only, by their paths in it', () => {
  const error = failed('no database', [
    'open (/srv/shop/src/database.ts:3:9)',
    'query (/srv/shop/node_modules/pg/index.js:1:2)',
    'file:///srv/shop/src/services.ts:1:7',
    'start (/srv/shop/.millrace/dev-1/1/main.js:4:1)',
    'ModuleJob.run (node:internal/modules/esm/module_job:325:25)',
  ]);
  expect(shortTrace(error, '/srv/shop')).toBe(
    'Error: no database\n    at open (src/database.ts:3:9)\n    at src/services.ts:1:7',
  );
});

test('several lines of a message, and what caused it', () => {
  const cause = failed('refused', ['connect (node:net:1:1)']);
  expect(shortTrace(failed('two\nlines', ['a (/p/src/a.ts:1:1)'], cause), '/p')).toBe(
    'Error: two\nlines\n    at a (src/a.ts:1:1)\ncaused by Error: refused',
  );
});

test('what is no error, and an error without a trace', () => {
  expect(shortTrace('text', '/p')).toBe('thrown: text');
  const error = new SyntaxError('no such export');
  delete error.stack;
  expect(shortTrace(error, '/p')).toBe('SyntaxError: no such export');
});
