import { expect, test } from 'vitest';
import { errorTable, MillraceError, type MillraceErrorCode } from './errors.js';

test.each(Object.keys(errorTable) as MillraceErrorCode[])(
  '%s says what and how to mend',
  (code) => {
    const error = new MillraceError(code);
    expect(code).toMatch(/^MILLRACE_[A-Z_]+$/);
    expect(error.code).toBe(code);
    expect(error.name).toBe('MillraceError');
    expect(error.message).toContain(error.remedy);
    expect(error.remedy).toMatch(/\.$/);
  },
);

test('a detail takes the place of the message, and a cause is kept', () => {
  const cause = new Error('why');
  const error = new MillraceError('MILLRACE_OPTION_INVALID', 'port is 70000', { cause });
  expect(error.message).toMatch(/^port is 70000\. Give a value/);
  expect(error.cause).toBe(cause);
});
