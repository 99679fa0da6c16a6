import { describe, expect, test } from 'vitest';
import { isStatus, Status, statusName } from './status.js';
import { StatusError } from './status-error.js';

describe('StatusError', () => {
  test('is recognised by its brand, also when another copy made it', () => {
    const error = new StatusError(Status.NOT_FOUND, 'x');
    expect(StatusError.is(error)).toBe(true);
    expect(StatusError.is({ [Symbol.for('millrace.StatusError')]: true })).toBe(true);
    expect(StatusError.is(new Error('x'))).toBe(false);
    expect(StatusError.is(undefined)).toBe(false);
    expect(error.codeName).toBe('NOT_FOUND');
    expect(error.name).toBe('StatusError');
  });

  test('from keeps a StatusError and hides anything else', () => {
    const error = new StatusError(Status.ABORTED);
    expect(StatusError.from(error)).toBe(error);
    const hidden = StatusError.from(new Error('secret'));
    expect(hidden).toMatchObject({ code: Status.INTERNAL, message: 'the handler failed' });
    expect((hidden.cause as Error).message).toBe('secret');
  });

  test('refuses what is no code', () => {
    expect(() => new StatusError(17 as Status)).toThrow('0 to 16');
  });
});

test('there are 17 codes, each with its name', () => {
  const codes = Object.values(Status);
  expect(codes).toEqual(Array.from({ length: 17 }, (_, code) => code));
  expect(statusName(16)).toBe('UNAUTHENTICATED');
  expect(statusName(99)).toBe('UNKNOWN');
  expect(isStatus(16)).toBe(true);
  expect(isStatus(17)).toBe(false);
  expect(isStatus('0')).toBe(false);
});
