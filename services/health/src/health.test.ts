import { attach, type Service, type ServiceHost } from 'millrace';
import { describe, expect, test } from 'vitest';
import { HealthCheckResponse_ServingStatus as Code } from './gen/grpc/health/v1/health.js';
import { type Health, health, type ServingStatus } from './health.js';
import { LISTED_MAX } from './service.js';

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN, UNKNOWN } = Code;

interface Reply {
  readonly status: number;
}

/** A server thread with one service of this name, as health sees it. */
function attached(given: Health, name = 'test.Notes') {
  const services: Service[] = [];
  const start: (() => void)[] = [];
  const drains: (() => void)[] = [];
  const host: ServiceHost = {
    services,
    logger: undefined as never,
    onClose: () => {},
    onStart: (listener) => start.push(listener),
    onDrain: (listener) => drains.push(listener),
  };
  services.push(...given[attach](host));
  services.push({ typeName: name, file: undefined, methods: [], interceptors: [] });
  for (const listener of start) listener();
  const handler = (method: string) => {
    const form = services[0]?.methods.find(({ descriptor }) => descriptor.name === method)?.form;
    if (form?.kind !== 'function') throw new Error(`no function ${method}`);
    return form.call;
  };
  const abort = new AbortController();
  return {
    abort,
    drain: () => drains.forEach((listener) => void listener()),
    check: (service: string) => handler('Check')({ service }, {}) as Reply,
    list: () => (handler('List')({}, {}) as { statuses: Record<string, Reply> }).statuses,
    watch: (service: string) =>
      handler('Watch')({ service }, { signal: abort.signal }) as AsyncGenerator<Reply>,
  };
}

async function next(watch: AsyncGenerator<Reply>): Promise<number> {
  const { value } = await watch.next();
  return (value as Reply).status;
}

describe('Check', () => {
  test('the server and its services are serving from the start', () => {
    const { check } = attached(health());
    expect(check('').status).toBe(SERVING);
    expect(check('test.Notes').status).toBe(SERVING);
    expect(check('grpc.health.v1.Health').status).toBe(SERVING);
    expect(() => check('test.Other')).toThrow("no service 'test.Other' is known here");
  });

  test('what was set before the start stays', () => {
    const given = health();
    given.set('test.Notes', 'NOT_SERVING');
    expect(attached(given).check('test.Notes').status).toBe(NOT_SERVING);
  });

  test('names are independent of each other, and may be anything', () => {
    const given = health();
    const { check } = attached(given);
    given.set('', 'NOT_SERVING');
    given.set('a database', 'UNKNOWN');
    expect(check('').status).toBe(NOT_SERVING);
    expect(check('test.Notes').status).toBe(SERVING);
    expect(check('a database').status).toBe(UNKNOWN);
    given.remove('a database');
    expect(() => check('a database')).toThrow('known');
    expect(given.get('a database')).toBeUndefined();
  });

  test('a status that there is none of is refused, named', () => {
    expect(() => health().set('', 'DOWN' as ServingStatus)).toThrow(/one of SERVING.*"DOWN"/);
    expect(() => health().set(5 as never, 'SERVING')).toThrow('full name');
  });
});

describe('List', () => {
  test('has everything that is known', () => {
    const given = health();
    const { list } = attached(given);
    given.set('test.Notes', 'NOT_SERVING');
    expect(list()).toEqual({
      '': { status: SERVING },
      'grpc.health.v1.Health': { status: SERVING },
      'test.Notes': { status: NOT_SERVING },
    });
  });

  test('refuses more than its bound', () => {
    const given = health();
    const { list } = attached(given);
    for (let count = 0; count < LISTED_MAX - 3; count++) given.set(`${count}`, 'SERVING');
    expect(Object.keys(list()).length).toBe(LISTED_MAX);
    given.set('one more', 'SERVING');
    expect(list).toThrow('check them one by one');
  });
});

describe('Watch', () => {
  test('tells at once, then each change, and no repetition', async () => {
    const given = health();
    const watch = attached(given).watch('test.Notes');
    expect(await next(watch)).toBe(SERVING);
    const pending = next(watch);
    given.set('test.Notes', 'SERVING');
    given.set('test.Other', 'NOT_SERVING');
    given.set('test.Notes', 'NOT_SERVING');
    expect(await pending).toBe(NOT_SERVING);
    given.set('test.Notes', 'SERVING');
    expect(await next(watch)).toBe(SERVING);
  });

  test('a service is unknown until it is set, and again when it is removed', async () => {
    const given = health();
    const watch = attached(given).watch('later');
    expect(await next(watch)).toBe(SERVICE_UNKNOWN);
    given.set('later', 'SERVING');
    expect(await next(watch)).toBe(SERVING);
    given.remove('later');
    expect(await next(watch)).toBe(SERVICE_UNKNOWN);
  });

  test('who reads late gets the last status only', async () => {
    const given = health();
    const watch = attached(given).watch('');
    expect(await next(watch)).toBe(SERVING);
    for (let count = 0; count < 1000; count++) {
      given.set('', count % 2 === 0 ? 'NOT_SERVING' : 'UNKNOWN');
    }
    expect(await next(watch)).toBe(UNKNOWN);
  });

  test('a call that is over leaves nothing behind', async () => {
    const given = health();
    const thread = attached(given);
    const watch = thread.watch('');
    expect(await next(watch)).toBe(SERVING);
    const pending = watch.next();
    thread.abort.abort(new Error('the client has gone'));
    await expect(pending).rejects.toThrow('the client has gone');
    expect((await watch.next()).done).toBe(true);
  });
});

describe('a drain', () => {
  test('makes everything not serving, tells the watchers and ends their calls', async () => {
    const given = health();
    const { watch, check, list, drain } = attached(given);
    const watches = [watch('test.Notes'), watch(''), watch('unknown')];
    expect(await Promise.all(watches.map(next))).toEqual([SERVING, SERVING, SERVICE_UNKNOWN]);
    const pending = watches.map((one) => one.next());
    const unknown = expect(pending[2]).rejects.toThrow('shutting down');
    drain();
    expect(await pending[0]).toEqual({ value: { status: NOT_SERVING }, done: false });
    expect(await pending[1]).toEqual({ value: { status: NOT_SERVING }, done: false });
    await unknown;
    await expect(watches[0]?.next()).rejects.toThrow('shutting down');
    given.set('test.Notes', 'SERVING');
    expect(check('test.Notes').status).toBe(NOT_SERVING);
    expect(list()['']).toEqual({ status: NOT_SERVING });
  });

  test('of one server is not that of another with the same statuses', () => {
    const given = health();
    const first = attached(given);
    const second = attached(given);
    first.drain();
    expect(first.check('').status).toBe(NOT_SERVING);
    expect(second.check('').status).toBe(SERVING);
  });
});
