import { expect, test } from 'vitest';
import { checkOptions, type NatsOptions } from './options.js';

test('everything has a default', () => {
  expect(checkOptions({})).toEqual({
    servers: ['127.0.0.1:4222'],
    user: undefined,
    password: undefined,
    token: undefined,
    connection: {},
    retention: { count: 0, bytes: 2 ** 30, ageMs: 24 * 3_600_000 },
    replicas: 1,
    waitMs: 5000,
  });
});

test('what is given is kept', () => {
  const servers = ['one', 'nats://two:4222', 'tls://10.0.0.1:1', '[::1]:4222'];
  const given = {
    servers,
    user: 'me',
    password: 'secret',
    connection: { tls: {} },
    retention: { count: 5, bytes: 0, ageMs: 100 },
    replicas: 5,
    waitMs: 0,
  };
  expect(checkOptions(given)).toEqual({ ...given, token: undefined });
  expect(checkOptions({ retention: { ageMs: 0 } }).retention.ageMs).toBe(0);
});

test.each([
  [null, 'its options is null, but has to be an object'],
  [{ server: 'x' }, 'nats() has no server; it has servers, user, password'],
  [{ servers: [] }, 'servers is [], but has to be an address such as "127.0.0.1:4222", or several'],
  [{ servers: '' }, 'cannot use servers: it is empty'],
  [{ servers: ['a', 'b c'] }, 'cannot use servers[1]: it is empty, or has white space'],
  [{ servers: 4222 }, 'servers is 4222'],
  [{ servers: ['a', 4222] }, 'servers[1] is 4222'],
  [{ servers: 'a:70000' }, 'no host with a port from 1 to 65535'],
  [{ servers: 'a:0' }, 'no host with a port from 1 to 65535'],
  [{ servers: 'http://a:1' }, 'only nats:// and tls:// are spoken here'],
  [{ servers: 'nats://a:1/orders' }, 'more than a host and a port'],
  [{ user: 5 }, 'takes a text for user, not number'],
  [{ user: 'me', password: '' }, 'takes a text for password, not an empty one'],
  [{ password: 'secret' }, 'has a password without a user; give both'],
  [{ token: 't', user: 'me', password: 'p' }, 'has a token and a user'],
  [{ connection: 'tls' }, 'connection is "tls"'],
  [{ connection: { reconnect: true } }, 'leave it out: the backplane reconnects by itself'],
  [{ connection: { pass: 'x' } }, 'has connection.pass; leave it out: give nats({ password })'],
  [{ retention: 5 }, 'retention is 5, but has to be an object of numbers'],
  [{ retention: { age: 5 } }, 'nats() has no retention.age; it has count, bytes, ageMs'],
  [{ retention: { bytes: 1.5 } }, 'retention.bytes is 1.5, but has to be an integer from 0'],
  [{ retention: { bytes: '1 GiB' } }, 'retention.bytes is "1 GiB"'],
  [{ retention: { count: -1 } }, 'retention.count is -1'],
  [
    { retention: { ageMs: 99 } },
    'retention.ageMs is 99, but has to be 0 for no bound, or at least 100',
  ],
  [{ retention: { ageMs: 1e15 } }, 'retention.ageMs is 1000000000000000'],
  [{ replicas: 6 }, 'replicas is 6, but has to be an integer from 1 to 5'],
  [{ waitMs: -1 }, 'waitMs is -1, but has to be an integer from 0 to 86400000'],
  [{ waitMs: Number.NaN }, 'waitMs is null'],
])('%j is refused', (given, said) => {
  const check = () => checkOptions(given as unknown as NatsOptions);
  expect(check).toThrow(said);
  expect(check).toThrow('MILLRACE_OPTION_INVALID');
});

test('passwords are not shown', () => {
  for (const given of [
    { servers: 'nats://me:secret@a:1' },
    { password: 'secret' },
    { token: 'secret', user: 'me' },
  ]) {
    const check = () => checkOptions(given);
    expect(check).toThrow('MILLRACE_OPTION_INVALID');
    expect(check).not.toThrow('secret');
  }
});
