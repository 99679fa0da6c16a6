import { describe, expect, test } from 'vitest';
import type { Facts } from './facts.js';
import { type Finding, findings } from './findings.js';

/** A machine on which all is well. */
const good: Facts = {
  node: '22.1.0',
  platform: 'linux',
  arch: 'x64',
  release: '6.18.0',
  native: { file: '/app/millrace.linux-x64-gnu.node' },
  driver: { name: 'bundle', reason: 'bundle: passed the self-test' },
  features: [
    { driver: 'bundle', failure: undefined },
    { driver: 'ring', failure: undefined },
    { driver: 'classic', failure: undefined },
  ],
  driverAsked: 'auto',
  ioUringDisabled: 0,
  seccomp: 0,
  memlockBytes: 64 * 1024,
  openFiles: 1_048_576,
  backlog: 4096,
  port: { host: '127.0.0.1', port: 50051, failure: undefined },
};
const portable = { name: 'portable', reason: 'portable: io_uring is forbidden here' };

function found(facts: Partial<Facts>, portAsked = false): Finding[] {
  return findings({ ...good, ...facts }, portAsked);
}

function check(name: string, facts: Partial<Facts>, portAsked = false): Finding | undefined {
  return found(facts, portAsked).find((finding) => finding.check === name);
}

test('a good machine', () => {
  expect(found({}).map(({ check, level }) => `${check} ${level}`)).toEqual([
    'node ok',
    'kernel ok',
    'native ok',
    'driver ok',
    'features ok',
    'io_uring ok',
    'seccomp ok',
    'memlock ok',
    'open files ok',
    'backlog ok',
    'port ok',
  ]);
});

test('what the kernel has of io_uring', () => {
  const lacks = { driver: 'bundle', failure: "the driver 'bundle' does not run here: Linux 6.1" };
  const ring = { driver: 'ring', failure: undefined };
  expect(check('features', { features: [lacks, ring] })).toEqual({
    check: 'features',
    level: 'ok',
    message: `io_uring has what is needed for ring; ${lacks.failure}`,
  });
  expect(check('features', { features: [lacks] })).toMatchObject({
    level: 'warn',
    message: `io_uring cannot be used; ${lacks.failure}`,
    remedy: expect.stringContaining('Linux 5.7'),
  });
});

test.each([
  ['20.18.3', 'fail'],
  ['18.20.0', 'fail'],
  ['20.19.0', 'ok'],
  ['24.0.0', 'ok'],
])('Node.js %s: %s', (node, level) => {
  expect(check('node', { node })?.level).toBe(level);
});

describe('io_uring', () => {
  test('forbidden by sysctl', () => {
    const facts = { driver: portable, ioUringDisabled: 2 };
    expect(check('driver', facts)).toMatchObject({ level: 'warn', message: portable.reason });
    expect(check('io_uring', facts)).toMatchObject({
      level: 'warn',
      message: 'kernel.io_uring_disabled is 2: forbidden for all',
      remedy: expect.stringContaining('sysctl -w kernel.io_uring_disabled=0'),
    });
  });

  test('for a group only', () => {
    expect(check('io_uring', { ioUringDisabled: 1 })?.level).toBe('ok');
    expect(check('io_uring', { ioUringDisabled: 1, driver: portable })).toMatchObject({
      level: 'warn',
      remedy: expect.stringContaining('Add this user to that group'),
    });
  });

  test('hidden by seccomp', () => {
    expect(check('seccomp', { seccomp: 2 })?.level).toBe('ok');
    expect(check('seccomp', { seccomp: 2, driver: portable })).toMatchObject({
      level: 'warn',
      remedy: expect.stringContaining('io_uring_setup, io_uring_enter and io_uring_register'),
    });
  });

  test('without lockable memory', () => {
    expect(check('memlock', { driver: portable })).toMatchObject({
      level: 'warn',
      message: expect.stringContaining('64 KiB'),
      remedy: expect.stringContaining('ulimit -l'),
    });
    expect(check('memlock', { driver: portable, memlockBytes: Number.POSITIVE_INFINITY })).toEqual({
      check: 'memlock',
      level: 'ok',
      message: 'no limit',
    });
  });

  test('of an older kernel', () => {
    const ring = { name: 'ring', reason: 'ring: no bundles; Linux 6.10 has them' };
    expect(check('driver', { driver: ring })).toMatchObject({
      level: 'warn',
      message: ring.reason,
      remedy: expect.stringContaining('named here'),
    });
    expect(check('io_uring', { driver: ring })?.level).toBe('ok');
    expect(check('driver', { driver: ring, driverAsked: 'ring' })?.level).toBe('ok');
  });

  test('not asked for', () => {
    const facts = { driver: portable, driverAsked: 'portable', seccomp: 2 };
    expect(check('driver', facts)?.remedy).toContain('MILLRACE_DRIVER');
    expect(check('seccomp', facts)?.level).toBe('ok');
  });
});

test('elsewhere than on Linux the portable driver is right', () => {
  const facts: Partial<Facts> = {
    platform: 'darwin',
    driver: portable,
    ioUringDisabled: undefined,
    backlog: undefined,
    openFiles: undefined,
  };
  expect(found(facts).map(({ check, level }) => `${check} ${level}`)).toEqual([
    'node ok',
    'kernel warn',
    'native ok',
    'driver ok',
    'open files ok',
    'port ok',
  ]);
});

test('a native module that does not load is a failure, and there is no driver', () => {
  const { driver: _, ...rest } = good;
  const list = findings({ ...rest, native: { failure: 'does not load\n  file: why' } }, false);
  expect(list.find((finding) => finding.check === 'native')).toEqual({
    check: 'native',
    level: 'fail',
    message: 'does not load',
    remedy: 'file: why',
  });
  expect(list.some((finding) => finding.check === 'driver')).toBe(false);
});

test('a driver that does not run is a failure', () => {
  expect(check('driver', { driver: { failure: 'no' }, driverAsked: 'ring' })).toMatchObject({
    level: 'fail',
    message: 'no (MILLRACE_DRIVER=ring)',
  });
});

test.each([
  [64, 'fail'],
  [1024, 'warn'],
  [4096, 'ok'],
  [Number.POSITIVE_INFINITY, 'ok'],
])('%d open files: %s', (openFiles, level) => {
  expect(check('open files', { openFiles })?.level).toBe(level);
});

test('a short backlog', () => {
  expect(check('backlog', { backlog: 128 })).toMatchObject({
    level: 'warn',
    remedy: expect.stringContaining('net.core.somaxconn=4096'),
  });
});

test.each([
  ['EADDRINUSE', "ss -ltnp 'sport = :443'"],
  ['EACCES', 'ip_unprivileged_port_start'],
  ['EADDRNOTAVAIL', '--host'],
  ['EINVAL', '--port'],
])('a port that cannot be listened on: %s', (failure, remedy) => {
  const facts = { port: { host: '::1', port: 443, failure } };
  expect(check('port', facts, true)).toMatchObject({
    level: 'fail',
    message: expect.stringContaining('::1'),
    remedy: expect.stringContaining(remedy),
  });
  expect(check('port', facts, false)?.level).toBe('warn');
});
