import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { NativeEngineConstructor } from '../bridge/native.js';
import { attach, type ServiceHost } from '../service/attached.js';
import { service } from '../service/service.js';
import { attachAll } from './attach.js';
import { Notes } from './harness.test-support.js';
import { checkOptions } from './options.js';
import { ThreadServer } from './thread.js';

const never = () => {
  throw new Error('not called');
};
const handlers = { one: never, gather: never, spread: never, chat: never };
const silent = pino({ level: 'silent' });
const notes = service(Notes, handlers);
const serviceNamed = (typeName: string) => service({ ...Notes, typeName }, handlers);

test('attached services see all, those behind them included, before the start', () => {
  const seen: string[][] = [];
  const names = ({ services }: ServiceHost) => services.map(({ typeName }) => typeName);
  const attached = {
    [attach](host: ServiceHost) {
      host.onStart(() => seen.push(names(host)));
      return [serviceNamed('test.First'), serviceNamed('test.Second')];
    },
  };
  const { services, drainListeners } = attachAll([attached, notes], silent);
  expect(services.map(({ typeName }) => typeName)).toEqual([
    'test.First',
    'test.Second',
    'test.Notes',
  ]);
  expect(seen).toEqual([['test.First', 'test.Second', 'test.Notes']]);
  expect(drainListeners).toEqual([]);
});

test('a service that is there already is refused', () => {
  const attached = { [attach]: () => [notes] };
  expect(() => attachAll([attached, notes], silent)).toThrow('MILLRACE_SERVICE_DUPLICATE');
});

test('where no server comes of it, what is attached gives back what it holds', async () => {
  const closed: string[] = [];
  const held = (name: string) => ({
    [attach](host: ServiceHost) {
      host.onClose(async () => {
        closed.push(name);
        throw new Error('of no interest');
      });
      return [];
    },
  });
  expect(() => attachAll([held('before'), { [attach]: never }], silent)).toThrow('not called');
  expect(closed).toEqual(['before']);
  const Unavailable = class {
    constructor() {
      throw new Error('no such driver');
    }
  } as unknown as NativeEngineConstructor;
  const { thread } = checkOptions({ services: [] });
  expect(() => new ThreadServer(Unavailable, [held('then')], [], silent, thread)).toThrow(
    'no such driver',
  );
  expect(closed).toEqual(['before', 'then']);
});
