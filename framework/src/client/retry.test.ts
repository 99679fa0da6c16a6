import { expect, test } from 'vitest';
import { Status } from '../status/status.js';
import { Backoff } from './backoff.js';
import { pushbackMs, Retries, RetryThrottle } from './retry.js';

const policy = {
  maxAttempts: 5,
  initialBackoff: 100,
  maxBackoff: 250,
  backoffMultiplier: 2,
  retryableStatusCodes: 1 << Status.UNAVAILABLE,
};
const middle = () => 0.5;
const { UNAVAILABLE, NOT_FOUND } = Status;

test('the delays grow to their bound, and then no attempt is left', () => {
  const retries = new Retries(policy);
  const delays = Array.from({ length: 5 }, () =>
    retries.next(UNAVAILABLE, undefined, undefined, middle),
  );
  expect(delays).toEqual([100, 200, 250, 250, undefined]);
  expect(retries.made).toBe(4);
});

test('each delay is spread by a fifth', () => {
  const next = (random: number) =>
    new Retries(policy).next(UNAVAILABLE, undefined, undefined, () => random);
  expect(next(0)).toBeCloseTo(80);
  expect(next(1)).toBeCloseTo(120);
});

test('pushback is obeyed to the millisecond, and begins the backoff anew', () => {
  const retries = new Retries(policy);
  expect(retries.next(UNAVAILABLE, undefined, undefined, middle)).toBe(100);
  expect(retries.next(UNAVAILABLE, '7', undefined, middle)).toBe(7);
  expect(retries.next(UNAVAILABLE, undefined, undefined, middle)).toBe(100);
  expect(retries.next(UNAVAILABLE, '-1', undefined, middle)).toBeUndefined();
});

test.each([
  [undefined, undefined],
  ['0', 0],
  ['250', 250],
  ['-1', 'never'],
  ['soon', 'never'],
  ['', 'never'],
  ['99999999999', 'never'],
])('pushback %s', (value, expected) => {
  expect(pushbackMs(value)).toBe(expected);
});

test('a code that is not retryable stays, and takes no token', () => {
  const throttle = new RetryThrottle({ maxTokens: 2, tokenRatio: 0.1 });
  expect(new Retries(policy).next(NOT_FOUND, undefined, throttle)).toBeUndefined();
  expect(throttle.allows).toBe(true);
});

test('with half of the tokens left nothing is retried; successes give some back', () => {
  const throttle = new RetryThrottle({ maxTokens: 4, tokenRatio: 0.5 });
  const retry = () => new Retries(policy).next(UNAVAILABLE, undefined, throttle, middle);
  expect(retry()).toBe(100);
  expect(retry()).toBeUndefined();
  expect(throttle.allows).toBe(false);
  throttle.succeeded();
  expect(throttle.allows).toBe(true);
});

test('connecting: 1 s, times 1.6, up to the bound, spread by a fifth, from the start again', () => {
  const backoff = new Backoff({ initialMs: 1000, mostMs: 2000 }, middle);
  expect([backoff.next(), backoff.next(), backoff.next(), backoff.next()]).toEqual([
    1000, 1600, 2000, 2000,
  ]);
  backoff.reset();
  expect(backoff.next()).toBe(1000);
  expect(new Backoff(undefined, () => 0).next()).toBe(800);
  expect(new Backoff(undefined, () => 1).next()).toBe(1200);
});
