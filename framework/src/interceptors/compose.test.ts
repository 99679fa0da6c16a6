import { describe, expect, test } from 'vitest';
import {
  FLAG_END,
  OPERATION_MESSAGE,
  OPERATION_REPLY,
  OPERATION_STATUS,
  RECORD_CALL,
  RECORD_CANCEL,
  RECORD_MESSAGE,
  RECORD_REQUEST,
} from '../bridge/layout.js';
import {
  decoded,
  encoded,
  harness,
  type Note,
  Notes,
  statusMessage,
} from '../server/harness.test-support.js';
import { service } from '../service/service.js';
import { Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';
import type { Interceptor } from './interceptor.js';

const notes = (interceptors: readonly Interceptor[] = []) =>
  service(
    Notes,
    {
      one: async (request) => ({ text: request.text }),
      async gather(requests) {
        let text = '';
        for await (const request of requests) text += request.text;
        return { text };
      },
      async *spread(request) {
        yield { text: request.text };
        yield { text: request.text };
      },
      chat: {
        open: (_ctx, writer) => ({
          message(request) {
            writer.write({ text: request.text });
          },
          end() {
            writer.end();
          },
        }),
      },
    },
    { interceptors },
  );

/** Calls each method with the messages a and b (or a alone); returns the texts of its replies. */
async function run(name: string, interceptors: readonly Interceptor[]) {
  const { native, id } = harness([notes()], { interceptors });
  const method = id(name);
  if (name === 'One' || name === 'Spread') {
    native.record(RECORD_REQUEST, 0, { method, slot: native.put(encoded({ text: 'a' })) });
  } else {
    native.record(RECORD_CALL, 0, { method });
    native.record(RECORD_MESSAGE, 0, { slot: native.put(encoded({ text: 'a' })) });
    native.record(RECORD_MESSAGE, 0, {
      slot: native.put(encoded({ text: 'b' })),
      flags: FLAG_END,
    });
  }
  await native.batch();
  await native.batch();
  const operations = native.take();
  const texts = operations
    .filter(({ kind }) => kind === OPERATION_MESSAGE || kind === OPERATION_REPLY)
    .map(({ bytes }) => decoded(bytes).text);
  return { texts, status: operations.find(({ kind }) => kind === OPERATION_STATUS) };
}

describe('one signature for four kinds', () => {
  test.each([
    ['One', ['a']],
    ['Gather', ['ab']],
    ['Spread', ['a', 'a']],
    ['Chat', ['a', 'b']],
  ])('%s passes through, outermost first', async (name, texts) => {
    const order: string[] = [];
    const named =
      (label: string): Interceptor =>
      async (call, next) => {
        order.push(`${label} ${call.method.name}`);
        const output = await next(call);
        order.push(`${label} back`);
        return output;
      };
    expect((await run(name, [named('outer'), named('inner')])).texts).toEqual(texts);
    expect(order).toEqual([`outer ${name}`, `inner ${name}`, 'inner back', 'outer back']);
  });

  const shout: Interceptor = async (call, next) => {
    const output = await next(call);
    if (call.method.kind === 'unary' || call.method.kind === 'client-streaming') {
      return { text: (output as Note).text.toUpperCase() };
    }
    return (async function* () {
      for await (const reply of output as AsyncIterable<Note>) {
        yield { text: reply.text.toUpperCase() };
      }
    })();
  };

  test.each([
    ['One', ['A']],
    ['Gather', ['AB']],
    ['Spread', ['A', 'A']],
    ['Chat', ['A', 'B']],
  ])('%s: replies can be changed', async (name, texts) => {
    expect((await run(name, [shout])).texts).toEqual(texts);
  });

  test.each(['One', 'Gather', 'Spread', 'Chat'])('%s: refused before the handler', async (name) => {
    const refuse: Interceptor = async () => {
      throw new StatusError(Status.UNAUTHENTICATED, 'who are you?');
    };
    const { status, texts } = await run(name, [refuse]);
    expect(texts).toEqual([]);
    expect(status?.flags).toBe(Status.UNAUTHENTICATED);
    expect(statusMessage(status!.bytes)).toBe('who are you?');
  });

  test('next() twice is an error', async () => {
    const twice: Interceptor = async (call, next) => {
      await next(call);
      return next(call);
    };
    expect((await run('One', [twice])).status?.flags).toBe(Status.INTERNAL);
  });

  test('those of a service come inside those of the server', async () => {
    const order: string[] = [];
    const named =
      (label: string): Interceptor =>
      (call, next) => {
        order.push(label);
        return next(call);
      };
    const { native, id } = harness([notes([named('service')])], {
      interceptors: [named('server')],
    });
    native.record(RECORD_REQUEST, 0, { method: id('One'), slot: native.put(encoded({})) });
    await native.batch();
    expect(order).toEqual(['server', 'service']);
  });

  test('a callback handler behind interceptors is closed when its call is cancelled', async () => {
    const closed: unknown[] = [];
    const { native, id, dispatcher } = harness(
      [
        service(Notes, {
          one: () => ({}),
          gather: () => ({}),
          async *spread() {
            yield {};
          },
          chat: { open: () => ({ closed: (cause) => closed.push(cause) }) },
        }),
      ],
      { interceptors: [(call, next) => next(call)] },
    );
    native.record(RECORD_CALL, 0, { method: id('Chat') });
    await native.batch();
    native.record(RECORD_CANCEL, 0, { flags: 1, aux: Status.CANCELLED });
    await native.batch();
    expect(closed).toMatchObject([{ code: Status.CANCELLED }]);
    expect(dispatcher.running).toBe(0);
  });
});

test('what is no function is refused at once', () => {
  expect(() => notes([null as unknown as Interceptor])).toThrow('MILLRACE_INTERCEPTOR_INVALID');
});
