import { afterEach, expect, test, vi } from 'vitest';
import { service } from '../service/service.js';
import { Notes } from './harness.test-support.js';
import { checkOptions, type ServeOptions } from './options.js';
import { serverStats, type ThreadStats } from './stats.js';

const never = () => {
  throw new Error('not called');
};
const notes = service(Notes, { one: never, gather: never, spread: never, chat: never });

afterEach(() => {
  vi.unstubAllEnvs();
});

test('defaults', () => {
  vi.stubEnv('MILLRACE_DRIVER', undefined);
  vi.stubEnv('LOG_LEVEL', undefined);
  expect(checkOptions({ services: [notes] })).toMatchObject({
    endpoint: { host: '127.0.0.1', port: 50051 },
    threads: 1,
    signals: true,
    logLevel: 'info',
    drainTimeoutMs: 30_000,
    thread: { engine: { driver: 'auto' }, handlerGraceMs: 5000 },
  });
});

test('the environment names driver and level; options go first', () => {
  vi.stubEnv('MILLRACE_DRIVER', 'portable');
  vi.stubEnv('LOG_LEVEL', 'warn');
  const fromEnvironment = checkOptions({ services: [notes] });
  expect(fromEnvironment.thread.engine['driver']).toBe('portable');
  expect(fromEnvironment.logLevel).toBe('warn');
  const given = checkOptions({ services: [notes], driver: 'bundle', log: { level: 'error' } });
  expect(given.thread.engine['driver']).toBe('bundle');
  expect(given.logLevel).toBe('error');
});

test.each<[object, string]>([
  [{ prot: 1 }, 'no option "prot"'],
  [{ port: 70_000 }, 'MILLRACE_OPTION_INVALID'],
  [{ port: '1' }, 'port is "1"'],
  [{ threads: 0 }, 'MILLRACE_OPTION_INVALID'],
  [{ threads: 2 }, 'MILLRACE_THREADS_NEED_MODULE'],
  [{ driver: 'fast' }, 'one of auto, bundle'],
  [{ log: { level: 'loud' } }, 'log.level'],
  [{ host: '' }, 'host'],
  [{ host: 'unix:/run/x.sock' }, 'given as path'],
  [{ path: '' }, "a file's path or unix-abstract:name"],
  [{ path: 'unix-abstract:' }, "a file's path or unix-abstract:name"],
  [{ path: '/run/x.sock', port: 1 }, 'no host and no port'],
  [{ path: '/run/x.sock', pathMode: 0o1000 }, 'pathMode is 512'],
  [{ path: 'unix-abstract:x', pathMode: 0o600 }, 'an abstract socket has none'],
  [{ pathMode: 0o600 }, 'give path too'],
  [{ descriptor: -1 }, 'descriptor is -1'],
  [{ descriptor: 3, port: 50051 }, 'leave host, port and path out'],
  [{ signals: 1 }, 'signals'],
  [{ drainTimeoutMs: -1 }, 'drainTimeoutMs'],
  [{ limits: { ringBuffers: 3 } }, 'ringBuffers'],
  [{ limits: { keepaliveTimeMs: 1 } }, 'there is no limit "keepaliveTimeMs"'],
  [{ keepalive: 1 }, 'keepalive is 1, but has to be an object'],
  [{ keepalive: { time: 1 } }, 'keepalive has no option "time"; it has timeMs, timeoutMs,'],
  [{ keepalive: { timeoutMs: 0 } }, 'keepalive.timeoutMs is 0'],
  [{ keepalive: { permitWithoutCalls: 1 } }, 'keepalive.permitWithoutCalls is 1'],
  [{ http2: { toString: 1 } }, 'http2 has no option "toString"'],
  [{ http2: { headerFields: 8 } }, 'http2.headerFields is 8, but has to be a whole number from 16'],
  [{ interceptors: ['x'] }, 'MILLRACE_INTERCEPTOR_INVALID'],
  [{ services: [notes, notes] }, 'MILLRACE_SERVICE_DUPLICATE'],
  [{ services: [{}] }, 'MILLRACE_SERVICE_INVALID'],
  [{ services: './services.js' }, 'MILLRACE_SERVICE_INVALID'],
])('%j is refused', (options, text) => {
  expect(() => checkOptions({ services: [notes], ...options } as ServeOptions)).toThrow(text);
});

test('the groups go to the engine by its own names', () => {
  const { engine } = checkOptions({
    services: [notes],
    keepalive: { minTimeMs: 0, permitWithoutCalls: true },
    http2: { resetBurst: 10 },
  }).thread;
  expect(engine).toMatchObject({
    keepaliveMinTimeMs: 0,
    keepalivePermitWithoutCalls: true,
    'http2.resetBurst': 10,
  });
});

test('a Unix socket, by its path or its address', () => {
  const endpoint = (given: object) => checkOptions({ services: [notes], ...given }).endpoint;
  const file = { unix: 'unix:/run/x.sock', mode: undefined };
  expect(endpoint({ path: '/run/x.sock' })).toEqual(file);
  expect(endpoint({ path: 'unix:/run/x.sock' })).toEqual(file);
  expect(endpoint({ path: '/run/x.sock', pathMode: 0o660 })).toEqual({ ...file, mode: 0o660 });
  expect(endpoint({ path: 'unix-abstract:x' })).toEqual({
    unix: 'unix-abstract:x',
    mode: undefined,
  });
});

test('totals: sums, but the lowest and highest of all threads', () => {
  const thread = (active: number, lowest: number, highest: number) =>
    ({
      driver: 'bundle',
      http2: {},
      activeCalls: active,
      ringLowestFree: lowest,
      bufferedBytesHighest: highest,
    }) as unknown as ThreadStats;
  const { total, threads } = serverStats([thread(1, 100, 5), thread(2, 50, 9)]);
  expect(total).toEqual({ activeCalls: 3, ringLowestFree: 50, bufferedBytesHighest: 9 });
  expect(threads).toHaveLength(2);
});
