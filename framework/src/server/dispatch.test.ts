import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, test } from 'vitest';
import {
  CAUSE_DEADLINE,
  CAUSE_RESET,
  CONTROL_STREAM_MARK,
  FLAG_END,
  FLAG_HAS_DEADLINE,
  FLAG_HAS_METADATA,
  OPERATION_CONSUMED,
  OPERATION_DISCARD,
  OPERATION_HEADERS,
  OPERATION_MESSAGE,
  OPERATION_READING,
  OPERATION_REASON,
  OPERATION_RELEASE,
  OPERATION_REPLY,
  OPERATION_STATUS,
  RECORD_CALL,
  RECORD_CANCEL,
  RECORD_END,
  RECORD_MESSAGE,
  RECORD_REQUEST,
  RECORD_WRITABLE,
} from '../bridge/layout.js';
import { decodeMetadata, encodeMetadata } from '../bridge/metadata-block.js';
import type { Context } from '../context/context.js';
import type { Metadata } from '../context/metadata.js';
import type { MessageWriter, Requests } from '../service/handler.js';
import { type Service, service } from '../service/service.js';
import { Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';
import {
  decoded,
  encoded,
  type Harness,
  harness,
  type Note,
  type NoteInit,
  Notes,
  statusMessage,
} from './harness.test-support.js';

const unimplemented = () => {
  throw new StatusError(Status.UNIMPLEMENTED);
};
const rest = {
  one: unimplemented,
  gather: unimplemented,
  spread: unimplemented,
  chat: unimplemented,
} as const;

/** A call reference. */
const ref = (index: number, generation = 0) => index | (generation << 16);
const kinds = (native: Harness['native']) => native.take().map(({ kind }) => kind);
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A promise with its ends outside. */
function gate<T = void>() {
  let open!: (value: T) => void;
  let fail!: (error: unknown) => void;
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}

describe('unary', () => {
  test('one record in, one REPLY out', async () => {
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async one(request) {
          return { text: `${request.text}!` };
        },
      }),
    ]);
    const slot = native.put(encoded({ text: 'hello' }));
    native.record(RECORD_REQUEST, ref(3, 7), { method: id('One'), slot, flags: FLAG_END });
    await native.batch();
    const operations = native.take();
    expect(operations).toHaveLength(1);
    expect(operations[0]).toMatchObject({ kind: OPERATION_REPLY, call: ref(3, 7) });
    expect(decoded(operations[0]!.bytes).text).toBe('hello!');
  });

  test('a handler that is not async replies before the batch ends', () => {
    const { native, id } = harness([
      service(Notes, { ...rest, one: (request) => ({ text: request.text }) }),
    ]);
    const slot = native.put(encoded({ text: 'x' }));
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot });
    native.deliver();
    expect(kinds(native)).toEqual([OPERATION_REPLY]);
  });

  test('the message is decoded before the batch returns', async () => {
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async one(request) {
          await turn();
          return { text: request.text, data: request.data };
        },
      }),
    ]);
    const slot = native.put(encoded({ text: 'kept', data: new Uint8Array([1, 2, 3]) }));
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot });
    native.deliver();
    native.poison(slot);
    await native.batch();
    const reply = decoded(native.take()[0]!.bytes);
    expect(reply.text).toBe('kept');
    expect([...reply.data]).toEqual([1, 2, 3]);
  });

  test('a StatusError crosses with message, metadata and details', async () => {
    const { native, id, logs } = harness([
      service(Notes, {
        ...rest,
        async one(_request, ctx) {
          ctx.trailers.set('x-trailer', 'from ctx');
          throw new StatusError(Status.NOT_FOUND, 'no such note', {
            metadata: { 'x-more-bin': new Uint8Array([0, 255]) },
            details: [{ typeUrl: 'type.googleapis.com/test.Note', value: encoded({ text: 'd' }) }],
          });
        },
      }),
    ]);
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot: native.put(encoded({})) });
    await native.batch();
    const [status] = native.take();
    expect(status).toMatchObject({ kind: OPERATION_STATUS, flags: Status.NOT_FOUND });
    expect(statusMessage(status!.bytes)).toBe('no such note');
    const length = 4 + Buffer.byteLength('no such note');
    const trailers = decodeMetadata(status!.bytes.slice(length));
    expect(trailers.get('x-trailer')).toBe('from ctx');
    expect([...trailers.get('x-more-bin')!]).toEqual([0, 255]);
    expect(Buffer.from(trailers.get('grpc-status-details-bin')!).toString('latin1')).toContain(
      'type.googleapis.com/test.Note',
    );
    expect(logs).toEqual([]);
  });

  test('any other exception is INTERNAL without its text, and logged with it', async () => {
    const { native, id, logs, dispatcher } = harness([
      service(Notes, {
        ...rest,
        async one() {
          throw new Error('the database password is 1234');
        },
      }),
    ]);
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot: native.put(encoded({})) });
    await native.batch();
    const [status] = native.take();
    expect(status).toMatchObject({ kind: OPERATION_STATUS, flags: Status.INTERNAL });
    expect(statusMessage(status!.bytes)).not.toContain('1234');
    expect(logs).toHaveLength(1);
    expect(JSON.stringify(logs[0])).toContain('the database password is 1234');
    expect(statusMessage(status!.bytes)).toContain(String(logs[0]!['requestId']));
    expect(dispatcher.stats).toMatchObject({ handlerErrors: 1, handlersRunning: 0 });
  });

  test('a reply that cannot be encoded is INTERNAL, and leaves nothing of it behind', async () => {
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        one: (request) =>
          (request.text === 'bad' ? { data: new Uint8Array(9), text: 5 } : request) as NoteInit,
      }),
    ]);
    const bad = native.put(encoded({ text: 'bad' }));
    const good = native.put(encoded({ text: 'good' }));
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot: bad });
    native.record(RECORD_REQUEST, ref(1), { method: id('One'), slot: good });
    await native.batch();
    const [first, second] = native.take();
    expect(first).toMatchObject({ kind: OPERATION_STATUS, flags: Status.INTERNAL });
    expect(decoded(second!.bytes).text).toBe('good');
  });

  test('a handler that returns no message is told so in the log', async () => {
    const { native, id, logs } = harness([
      service(Notes, { ...rest, one: (() => undefined) as unknown as () => NoteInit }),
    ]);
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot: native.put(encoded({})) });
    await native.batch();
    expect(native.take()[0]).toMatchObject({ kind: OPERATION_STATUS, flags: Status.INTERNAL });
    expect(JSON.stringify(logs)).toContain('MILLRACE_HANDLER_RESULT');
  });

  test('bytes that are no message are INTERNAL, and the handler is not called', async () => {
    let called = false;
    const { native, id, logs } = harness([
      service(Notes, {
        ...rest,
        one: () => {
          called = true;
          return {};
        },
      }),
    ]);
    const slot = native.put(new Uint8Array([10, 200]));
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot });
    await native.batch();
    const [status] = native.take();
    expect(status).toMatchObject({ kind: OPERATION_STATUS, flags: Status.INTERNAL });
    expect(statusMessage(status!.bytes)).toContain('invalid request');
    expect(called).toBe(false);
    expect(logs).toHaveLength(1);
  });

  test('cancelled: the signal aborts with its StatusError, and RELEASE follows the handler', async () => {
    const { promise, open } = gate();
    let reason: unknown;
    const { native, id, dispatcher } = harness([
      service(Notes, {
        ...rest,
        async one(_request, ctx) {
          ctx.signal.addEventListener('abort', () => {
            reason = ctx.signal.reason;
          });
          await promise;
          return {};
        },
      }),
    ]);
    native.record(RECORD_REQUEST, ref(5, 2), { method: id('One'), slot: native.put(encoded({})) });
    await native.batch();
    native.record(RECORD_CANCEL, ref(5, 2), { flags: CAUSE_RESET, aux: Status.CANCELLED });
    await native.batch();
    expect(StatusError.is(reason) && reason.code).toBe(Status.CANCELLED);
    expect(kinds(native)).toEqual([]);
    expect(dispatcher.running).toBe(1);
    open();
    await native.batch();
    expect(native.take()).toMatchObject([{ kind: OPERATION_RELEASE, call: ref(5, 2) }]);
    expect(dispatcher.running).toBe(0);
  });

  test('a signal asked for after the cancellation is aborted', async () => {
    const { promise, open } = gate();
    let aborted = false;
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async one(_request, ctx) {
          await promise;
          aborted = ctx.signal.aborted;
          return {};
        },
      }),
    ]);
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot: native.put(encoded({})) });
    native.record(RECORD_CANCEL, ref(0), { flags: CAUSE_RESET, aux: Status.CANCELLED });
    await native.batch();
    open();
    await native.batch();
    expect(aborted).toBe(true);
  });

  test('the signal does not abort on a regular end', async () => {
    let signal: AbortSignal | undefined;
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async one(_request, ctx) {
          signal = ctx.signal;
          return {};
        },
      }),
    ]);
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot: native.put(encoded({})) });
    await native.batch();
    // The engine may have cancelled it before it drained the reply.
    native.record(RECORD_CANCEL, ref(0), { flags: CAUSE_RESET, aux: Status.CANCELLED });
    await native.batch();
    expect(kinds(native)).toEqual([OPERATION_REPLY]);
    expect(signal?.aborted).toBe(false);
  });

  test('records of an older generation do not reach a newer call', async () => {
    const { promise, open } = gate();
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async one(_request, ctx) {
          await promise;
          return { text: String(ctx.signal.aborted) };
        },
      }),
    ]);
    native.record(RECORD_REQUEST, ref(1, 4), { method: id('One'), slot: native.put(encoded({})) });
    native.record(RECORD_CANCEL, ref(1, 3), { flags: CAUSE_RESET, aux: Status.CANCELLED });
    await native.batch();
    open();
    await native.batch();
    expect(decoded(native.take()[0]!.bytes).text).toBe('false');
  });

  test('trailers and headers of the handler', async () => {
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async one(_request, ctx) {
          ctx.sendHeaders({ 'x-head': 'h' });
          ctx.trailers.append('x-tail', 't');
          expect(() => ctx.sendHeaders()).toThrow('MILLRACE_HEADERS_SENT');
          return {};
        },
      }),
    ]);
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot: native.put(encoded({})) });
    await native.batch();
    const [headers, message, status] = native.take();
    expect(headers?.kind).toBe(OPERATION_HEADERS);
    expect(decodeMetadata(headers!.bytes).get('x-head')).toBe('h');
    expect(message?.kind).toBe(OPERATION_MESSAGE);
    expect(status).toMatchObject({ kind: OPERATION_STATUS, flags: 0 });
    expect(decodeMetadata(status!.bytes.slice(4)).get('x-tail')).toBe('t');
  });

  test('metadata is fetched when asked for, once; deadline and peer are there', async () => {
    let seen: { metadata: Metadata; deadline: Date | undefined; peer: unknown } | undefined;
    let again: Metadata | undefined;
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async one(_request, ctx) {
          seen = { metadata: ctx.metadata, deadline: ctx.deadline, peer: ctx.peer };
          again = ctx.metadata;
          return {};
        },
      }),
    ]);
    native.metadataBlocks.set(ref(0), encodeMetadata([['x-name', 'value']]));
    native.record(RECORD_REQUEST, ref(0), {
      method: id('One'),
      slot: native.put(encoded({})),
      flags: FLAG_HAS_METADATA | FLAG_HAS_DEADLINE,
      aux: 60_000,
    });
    const before = Date.now();
    await native.batch();
    expect(seen?.metadata.get('X-Name')).toBe('value');
    expect(again).toBe(seen?.metadata);
    expect(seen?.deadline?.getTime()).toBeGreaterThanOrEqual(before + 60_000);
    expect(String(seen?.peer)).toBe('127.0.0.1:1234');
  });

  test('a passed deadline says where the time went', async () => {
    let reason: unknown;
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async one(_request, ctx) {
          return await new Promise<NoteInit>((_resolve, reject) => {
            ctx.signal.addEventListener('abort', () => {
              reason = ctx.signal.reason;
              reject(reason);
            });
          });
        },
      }),
    ]);
    const call = { method: id('One'), slot: native.put(encoded({})) };
    native.record(RECORD_REQUEST, ref(0), { ...call, flags: FLAG_HAS_DEADLINE, aux: 5 });
    await native.batch();
    native.record(RECORD_CANCEL, ref(0), { flags: CAUSE_DEADLINE, aux: Status.DEADLINE_EXCEEDED });
    await native.batch();
    expect(reason).toMatchObject({ code: Status.DEADLINE_EXCEEDED });
    expect(String(reason)).toMatch(/5 ms were left .* in the handler, .* event loop noticed/);
    // The client gets to see it too; the call is let go of when its handler has settled.
    expect(kinds(native)).toEqual([OPERATION_REASON, OPERATION_RELEASE]);
  });

  test('a handler that outlives its cancellation is named in a warning', async () => {
    const { promise, open } = gate();
    const { native, id, logs, dispatcher } = harness(
      [
        service(Notes, {
          ...rest,
          async one() {
            await promise;
            return {};
          },
        }),
      ],
      { graceMs: 1 },
    );
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot: native.put(encoded({})) });
    native.record(RECORD_CANCEL, ref(0), { flags: CAUSE_RESET, aux: Status.CANCELLED });
    await native.batch();
    while (dispatcher.stats.handlersOverdue === 0) await turn();
    expect(logs.at(-1)?.msg).toContain('/test.Notes/One');
    expect(logs.at(-1)?.msg).toContain('ctx.signal');
    open();
    await native.batch();
    expect(kinds(native)).toEqual([OPERATION_RELEASE]);
  });

  test('each handler of a batch has an async context of its own', async () => {
    const storage = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async one(request) {
          seen.push(storage.getStore());
          storage.enterWith(request.text);
          await turn();
          return { text: storage.getStore() ?? 'nothing' };
        },
      }),
    ]);
    for (let index = 0; index < 3; index++) {
      const slot = native.put(encoded({ text: `call ${index}` }));
      native.record(RECORD_REQUEST, ref(index), { method: id('One'), slot });
    }
    await native.batch();
    await native.batch();
    expect(seen).toEqual([undefined, undefined, undefined]);
    expect(native.take().map(({ bytes }) => decoded(bytes).text)).toEqual([
      'call 0',
      'call 1',
      'call 2',
    ]);
    expect(storage.getStore()).toBeUndefined();
  });
});

describe('request streams', () => {
  test('messages are decoded when pulled, from where they are then', async () => {
    const { promise, open } = gate();
    const texts: string[] = [];
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async gather(requests) {
          await promise;
          for await (const request of requests) texts.push(request.text);
          return { text: texts.join(' ') };
        },
      }),
    ]);
    const slot = native.put(encoded({ text: 'moved' }));
    const other = native.put(encoded({ text: 'stays' }));
    native.record(RECORD_CALL, ref(0), { method: id('Gather') });
    native.record(RECORD_MESSAGE, ref(0), { slot });
    native.record(RECORD_MESSAGE, ref(0), { slot: other, flags: FLAG_END });
    await native.batch();
    expect(kinds(native)).toEqual([]);
    const region = new Uint8Array(64);
    region.set(encoded({ text: 'moved' }), 30);
    native.callbacks.onRegion(1, region.buffer);
    native.poison(slot);
    native.move(slot, 1, 30);
    open();
    await native.batch();
    expect(texts).toEqual(['moved', 'stays']);
    expect(kinds(native)).toEqual([OPERATION_READING, OPERATION_CONSUMED, OPERATION_REPLY]);
    expect(native.consumed[0]).toBe(2);
  });

  test('CONSUMED once per call and epoch, with the count in shared memory', async () => {
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async gather(requests) {
          let count = 0;
          for await (const _ of requests) count++;
          return { text: String(count) };
        },
      }),
    ]);
    const slot = native.put(encoded({ text: 'x' }));
    native.record(RECORD_CALL, ref(2), { method: id('Gather') });
    for (let index = 0; index < 50; index++) native.record(RECORD_MESSAGE, ref(2), { slot });
    await native.batch();
    expect(kinds(native)).toEqual([OPERATION_READING, OPERATION_CONSUMED]);
    expect(native.consumed[2]).toBe(50);
    for (let index = 0; index < 50; index++) native.record(RECORD_MESSAGE, ref(2), { slot });
    native.record(RECORD_END, ref(2));
    await native.batch();
    expect(kinds(native)).toEqual([OPERATION_CONSUMED, OPERATION_REPLY]);
    expect(native.consumed[2]).toBe(100);
  });

  test('leaving early discards', async () => {
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async gather(requests) {
          for await (const request of requests) {
            return { text: request.text };
          }
          return {};
        },
      }),
    ]);
    const slot = native.put(encoded({ text: 'first' }));
    native.record(RECORD_CALL, ref(0), { method: id('Gather') });
    native.record(RECORD_MESSAGE, ref(0), { slot });
    native.record(RECORD_MESSAGE, ref(0), { slot });
    await native.batch();
    const operations = native.take();
    expect(operations.map(({ kind }) => kind)).toEqual([
      OPERATION_READING,
      OPERATION_CONSUMED,
      OPERATION_DISCARD,
      OPERATION_REPLY,
    ]);
    expect(native.consumed[0]).toBe(1);
    // What was on its way finds no call.
    native.record(RECORD_MESSAGE, ref(0), { slot }).record(RECORD_END, ref(0));
    await native.batch();
    expect(kinds(native)).toEqual([]);
  });

  test('an empty stream that has ended with its head', async () => {
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async gather(requests) {
          for await (const _ of requests) throw new Error('nothing was sent');
          return { text: 'empty' };
        },
      }),
    ]);
    native.record(RECORD_CALL, ref(0), { method: id('Gather'), flags: FLAG_END });
    await native.batch();
    expect(decoded(native.take().at(-1)!.bytes).text).toBe('empty');
  });

  test('a cancellation rejects pending and later pulls, never ends the stream', async () => {
    const outcomes: string[] = [];
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async gather(requests, ctx) {
          ctx.signal.addEventListener('abort', () => outcomes.push('abort'));
          for (let pull = 0; pull < 2; pull++) {
            try {
              const { done } = await requests.next();
              outcomes.push(`done ${done}`);
            } catch (error) {
              outcomes.push(StatusError.is(error) ? `${error.codeName}` : 'other');
            }
          }
          throw ctx.signal.reason;
        },
      }),
    ]);
    native.record(RECORD_CALL, ref(0), { method: id('Gather') });
    await native.batch();
    native.record(RECORD_CANCEL, ref(0), { flags: CAUSE_RESET, aux: Status.CANCELLED });
    await native.batch();
    expect(outcomes).toEqual(['abort', 'CANCELLED', 'CANCELLED']);
    expect(kinds(native)).toEqual([OPERATION_READING, OPERATION_RELEASE]);
  });

  test('waiting messages of a cancelled call are never read', async () => {
    const { promise, open } = gate();
    let outcome: unknown;
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async gather(requests) {
          await promise;
          try {
            for await (const request of requests) outcome = request;
          } catch (error) {
            outcome = error;
          }
          return {};
        },
      }),
    ]);
    native.record(RECORD_CALL, ref(0), { method: id('Gather') });
    native.record(RECORD_MESSAGE, ref(0), { slot: native.put(encoded({ text: 'gone' })) });
    native.record(RECORD_CANCEL, ref(0), { flags: CAUSE_RESET, aux: Status.CANCELLED });
    await native.batch();
    open();
    await native.batch();
    expect(StatusError.is(outcome)).toBe(true);
    expect(native.consumed[0]).toBe(0);
  });

  test('several pulls at once are answered in order', async () => {
    const results: unknown[] = [];
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async gather(requests) {
          const pulls = [requests.next(), requests.next(), requests.next()];
          for (const { value, done } of await Promise.all(pulls)) {
            results.push(done === true ? 'done' : value.text);
          }
          return {};
        },
      }),
    ]);
    native.record(RECORD_CALL, ref(0), { method: id('Gather') });
    native.record(RECORD_MESSAGE, ref(0), { slot: native.put(encoded({ text: 'a' })) });
    native.record(RECORD_MESSAGE, ref(0), { slot: native.put(encoded({ text: 'b' })) });
    native.record(RECORD_END, ref(0));
    await native.batch();
    expect(results).toEqual(['a', 'b', 'done']);
  });

  test('a message that cannot be decoded rejects its pull and all later ones', async () => {
    let second: unknown;
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async gather(requests) {
          const first = await requests.next().catch((error: unknown) => error);
          second = await requests.next().catch((error: unknown) => error);
          throw first;
        },
      }),
    ]);
    native.record(RECORD_CALL, ref(0), { method: id('Gather') });
    native.record(RECORD_MESSAGE, ref(0), { slot: native.put(new Uint8Array([10, 99])) });
    native.record(RECORD_MESSAGE, ref(0), { slot: native.put(encoded({})) });
    await native.batch();
    expect(StatusError.is(second)).toBe(true);
    expect(native.take().at(-1)).toMatchObject({ kind: OPERATION_STATUS, flags: Status.INTERNAL });
  });

  test('throw() of the stream leaves it', async () => {
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async gather(requests) {
          const thrown = await requests.throw(new Error('mine')).catch((error: Error) => error);
          return { text: (thrown as unknown as Error).message };
        },
      }),
    ]);
    native.record(RECORD_CALL, ref(0), { method: id('Gather') });
    await native.batch();
    const operations = native.take();
    expect(operations.map(({ kind }) => kind)).toEqual([OPERATION_DISCARD, OPERATION_REPLY]);
    expect(decoded(operations[1]!.bytes).text).toBe('mine');
  });
});

describe('reply streams', () => {
  const echo = {
    ...rest,
    async *chat(requests: Requests<Note>) {
      for await (const request of requests) yield { text: request.text };
    },
  };

  test('a generator echoes in order and ends with OK', async () => {
    const { native, id } = harness([service(Notes, echo)]);
    native.record(RECORD_CALL, ref(0), { method: id('Chat') });
    for (const text of ['a', 'b', 'c']) {
      native.record(RECORD_MESSAGE, ref(0), { slot: native.put(encoded({ text })) });
    }
    native.record(RECORD_END, ref(0));
    await native.batch();
    const operations = native.take();
    const messages = operations.filter(({ kind }) => kind === OPERATION_MESSAGE);
    expect(messages.map(({ bytes }) => decoded(bytes).text)).toEqual(['a', 'b', 'c']);
    expect(operations.at(-1)).toMatchObject({ kind: OPERATION_STATUS, flags: 0 });
    expect(operations.at(-1)!.bytes).toHaveLength(0);
  });

  test('a generator over its mark waits for WRITABLE, with one message of overshoot', async () => {
    let yielded = 0;
    const { native, id } = harness(
      [
        service(Notes, {
          ...rest,
          async *spread() {
            for (; yielded < 10; yielded++) yield { data: new Uint8Array(100_000) };
          },
        }),
      ],
      { sizes: { arena: 1 << 20 } },
    );
    native.record(RECORD_REQUEST, ref(1), { method: id('Spread'), slot: native.put(encoded({})) });
    native.deliver();
    await turn();
    // 100,007 bytes each: the third passes the mark of 262,144.
    expect(yielded).toBe(2);
    native.pending[1] = 300_021;
    await native.batch();
    expect(yielded).toBe(2);
    native.pending[1] = 100_000;
    native.record(RECORD_WRITABLE, ref(1));
    await native.batch();
    expect(yielded).toBe(4);
    native.pending[1] = 0;
    native.record(RECORD_WRITABLE, ref(1));
    await native.batch();
    expect(yielded).toBe(7);
  });

  test('a stream whose WRITABLE never comes looks for itself', async () => {
    let yielded = 0;
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async *spread() {
          for (; yielded < 2; yielded++) yield { text: 'x' };
        },
      }),
    ]);
    native.control[CONTROL_STREAM_MARK] = 262_144;
    native.pending[0] = 500_000;
    native.record(RECORD_REQUEST, ref(0), { method: id('Spread'), slot: native.put(encoded({})) });
    await native.batch();
    expect(yielded).toBe(0);
    native.pending[0] = 0;
    while (yielded < 2) await turn();
  });

  test('while the thread is full one message at a time goes out', async () => {
    let yielded = 0;
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async *spread() {
          for (; yielded < 5; yielded++) yield { text: 'x' };
        },
      }),
    ]);
    native.setFull(true);
    native.record(RECORD_REQUEST, ref(0), { method: id('Spread'), slot: native.put(encoded({})) });
    await native.batch();
    expect(yielded).toBe(0);
    expect(kinds(native)).toEqual([OPERATION_MESSAGE]);
    native.record(RECORD_WRITABLE, ref(0));
    await native.batch();
    expect(yielded).toBe(1);
  });

  test('cancelled while it waits to write: abort, rejection, return(), then RELEASE', async () => {
    const order: string[] = [];
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async *spread(_request, ctx) {
          ctx.signal.addEventListener('abort', () => order.push('abort'));
          try {
            for (;;) yield { text: 'x' };
          } finally {
            order.push(`finally, aborted ${ctx.signal.aborted}`);
            await turn();
            order.push('settled');
          }
        },
      }),
    ]);
    native.pending[0] = 400_000;
    native.record(RECORD_REQUEST, ref(0), { method: id('Spread'), slot: native.put(encoded({})) });
    await native.batch();
    native.take();
    native.record(RECORD_CANCEL, ref(0), { flags: CAUSE_RESET, aux: Status.CANCELLED });
    await native.batch();
    await native.batch();
    expect(order).toEqual(['abort', 'finally, aborted true', 'settled']);
    expect(kinds(native)).toEqual([OPERATION_RELEASE]);
  });

  test('what is yielded after a cancellation goes nowhere', async () => {
    const { promise, open } = gate();
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async *spread() {
          await promise;
          yield { text: 'too late' };
          yield { text: 'never' };
        },
      }),
    ]);
    native.record(RECORD_REQUEST, ref(0), { method: id('Spread'), slot: native.put(encoded({})) });
    native.record(RECORD_CANCEL, ref(0), { flags: CAUSE_RESET, aux: Status.CANCELLED });
    await native.batch();
    expect(kinds(native)).toEqual([]);
    open();
    await native.batch();
    expect(kinds(native)).toEqual([OPERATION_RELEASE]);
  });

  test('an error of the generator is the status behind what it yielded', async () => {
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async *spread() {
          yield { text: 'one' };
          throw new StatusError(Status.ABORTED, 'enough');
        },
      }),
    ]);
    native.record(RECORD_REQUEST, ref(0), { method: id('Spread'), slot: native.put(encoded({})) });
    await native.batch();
    expect(native.take()).toMatchObject([
      { kind: OPERATION_MESSAGE },
      { kind: OPERATION_STATUS, flags: Status.ABORTED },
    ]);
  });

  test('a yield that cannot be encoded ends the generator too', async () => {
    let ended = false;
    const { native, id } = harness([
      service(Notes, {
        ...rest,
        async *spread() {
          try {
            yield { text: 5 } as unknown as NoteInit;
          } finally {
            ended = true;
          }
        },
      }),
    ]);
    native.record(RECORD_REQUEST, ref(0), { method: id('Spread'), slot: native.put(encoded({})) });
    await native.batch();
    expect(ended).toBe(true);
    expect(native.take()).toMatchObject([{ kind: OPERATION_STATUS, flags: Status.INTERNAL }]);
  });

  test('a message that fits neither the queue nor the arena', async () => {
    const sizes = { operations: 4, arena: 1000 };
    const texts = [
      'a',
      'b'.repeat(700),
      'c'.repeat(700),
      'd'.repeat(5000),
      'e',
      'f',
      'g',
      'h',
      'i',
    ];
    const { native, id } = harness(
      [
        service(Notes, {
          ...rest,
          async *spread() {
            for (const text of texts) yield { text };
          },
        }),
      ],
      { sizes },
    );
    native.record(RECORD_REQUEST, ref(0), { method: id('Spread'), slot: native.put(encoded({})) });
    await native.batch();
    const operations = native.take();
    const messages = operations.filter(({ kind }) => kind === OPERATION_MESSAGE);
    expect(messages.map(({ bytes }) => decoded(bytes).text)).toEqual(texts);
    expect(operations.at(-1)).toMatchObject({ kind: OPERATION_STATUS, flags: 0 });
  });

  test('a unary reply beyond the arena ends its call', async () => {
    const { native, id, dispatcher } = harness(
      [service(Notes, { ...rest, one: async () => ({ text: 'x'.repeat(9000) }) })],
      { sizes: { arena: 1000 } },
    );
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot: native.put(encoded({})) });
    await native.batch();
    const operations = native.take();
    expect(operations.map(({ kind }) => kind)).toEqual([OPERATION_REPLY]);
    expect(decoded(operations[0]!.bytes).text).toHaveLength(9000);
    expect(dispatcher.running).toBe(0);
  });

  test('a reply beyond sendMessageBytes is RESOURCE_EXHAUSTED', async () => {
    const { native, id, logs } = harness(
      [service(Notes, { ...rest, one: async () => ({ text: 'x'.repeat(300) }) })],
      { sendMessageBytes: 200 },
    );
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot: native.put(encoded({})) });
    await native.batch();
    expect(native.take()).toMatchObject([
      { kind: OPERATION_STATUS, flags: Status.RESOURCE_EXHAUSTED },
    ]);
    expect(JSON.stringify(logs)).toContain('MILLRACE_MESSAGE_TOO_LARGE');
  });
});

describe('callback form', () => {
  /** A bidi handler in callback form, with the ends of it kept outside. */
  function callback(
    callbacks: {
      message?(request: Note): void | Promise<void>;
      end?(): void;
    },
    more: { pauseInbound?: boolean } = {},
  ) {
    const kept: { ctx?: Context; writer?: MessageWriter<NoteInit>; closed: unknown[] } = {
      closed: [],
    };
    const handler = {
      ...more,
      open(ctx: Context, writer: MessageWriter<NoteInit>) {
        kept.ctx = ctx;
        kept.writer = writer;
        return { ...callbacks, closed: (cause: unknown) => kept.closed.push(cause) };
      },
    };
    return { kept, services: [service(Notes, { ...rest, chat: handler })] as Service[] };
  }

  function begin({ native, id }: Harness, texts: string[]): void {
    native.record(RECORD_CALL, ref(0), { method: id('Chat') });
    for (const text of texts) {
      native.record(RECORD_MESSAGE, ref(0), { slot: native.put(encoded({ text })) });
    }
  }

  test('echoes within the batch; consumed after each; closed once', async () => {
    const { kept, services } = callback({
      message(request) {
        expect(system.native.consumed[0]).toBe(request.text === 'a' ? 0 : 1);
        kept.writer?.write({ text: request.text });
      },
      end: () => kept.writer?.end(),
    });
    const system = harness(services);
    begin(system, ['a', 'b']);
    system.native.record(RECORD_END, ref(0));
    system.native.deliver();
    expect(kinds(system.native)).toEqual([
      OPERATION_READING,
      OPERATION_MESSAGE,
      OPERATION_CONSUMED,
      OPERATION_MESSAGE,
      OPERATION_STATUS,
    ]);
    expect(system.native.consumed[0]).toBe(2);
    expect(kept.closed).toEqual([undefined]);
    expect(() => kept.writer?.write({})).toThrow('MILLRACE_WRITE_AFTER_END');
    expect(() => kept.writer?.end()).toThrow('MILLRACE_WRITE_AFTER_END');
  });

  test('without end() the call ends when the peer does', async () => {
    const { services } = callback({});
    const system = harness(services);
    begin(system, ['a']);
    system.native.record(RECORD_END, ref(0));
    await system.native.batch();
    expect(system.native.take().at(-1)).toMatchObject({ kind: OPERATION_STATUS, flags: 0 });
  });

  test('the next message comes when the promise of the last has settled', async () => {
    const gates = [gate(), gate()];
    const begun: string[] = [];
    const { kept, services } = callback({
      async message(request) {
        begun.push(request.text);
        await gates[begun.length - 1]?.promise;
      },
      end: () => kept.writer?.end(),
    });
    const system = harness(services);
    begin(system, ['a', 'b']);
    system.native.record(RECORD_END, ref(0));
    await system.native.batch();
    expect(begun).toEqual(['a']);
    expect(system.native.consumed[0]).toBe(0);
    gates[0]!.open();
    await system.native.batch();
    expect(begun).toEqual(['a', 'b']);
    expect(system.native.consumed[0]).toBe(1);
    gates[1]!.open();
    await system.native.batch();
    expect(system.native.consumed[0]).toBe(2);
    expect(system.native.take().at(-1)).toMatchObject({ kind: OPERATION_STATUS, flags: 0 });
  });

  test('over the mark: write returns false, delivery pauses until WRITABLE', async () => {
    const wrote: (boolean | undefined)[] = [];
    const { kept, services } = callback({
      message: (request) => {
        wrote.push(kept.writer?.write({ text: request.text }));
      },
    });
    const system = harness(services);
    const { native } = system;
    begin(system, ['a']);
    native.pending[0] = 262_140;
    native.record(RECORD_MESSAGE, ref(0), { slot: native.put(encoded({ text: 'b' })) });
    native.record(RECORD_MESSAGE, ref(0), { slot: native.put(encoded({ text: 'c' })) });
    await native.batch();
    expect(wrote).toEqual([true, false]);
    expect(kept.ctx?.pressure).toMatchObject({ waitingMessages: 1, level: 'open' });
    // Held up because its connection is full: as if it were at its mark.
    native.pending[0] = 0x7fffffff;
    expect(kept.ctx?.pressure.unsentBytes).toBe(262_144);
    native.pending[0] = 262_150;
    let writable = false;
    kept.writer?.writable().then(() => {
      writable = true;
    });
    await turn();
    expect(writable).toBe(false);
    native.pending[0] = 0;
    native.record(RECORD_WRITABLE, ref(0));
    await native.batch();
    expect(writable).toBe(true);
    expect(wrote).toEqual([true, false, true]);
  });

  test('pauseInbound: false goes on delivering', async () => {
    const wrote: (boolean | undefined)[] = [];
    const { kept, services } = callback(
      {
        message: (request) => {
          wrote.push(kept.writer?.write({ text: request.text }));
        },
      },
      { pauseInbound: false },
    );
    const system = harness(services);
    system.native.pending[0] = 300_000;
    begin(system, ['a', 'b', 'c']);
    await system.native.batch();
    expect(wrote).toEqual([false, false, false]);
  });

  test('writing on at twice the mark is MILLRACE_WRITE_OVERRUN and fails the call', async () => {
    const { kept, services } = callback({
      message: () => {
        for (;;) kept.writer?.write({ data: new Uint8Array(60_000) });
      },
    });
    const system = harness(services, { sizes: { arena: 4 << 20 } });
    begin(system, ['a']);
    await system.native.batch();
    const operations = system.native.take();
    const messages = operations.filter(({ kind }) => kind === OPERATION_MESSAGE);
    expect(messages).toHaveLength(9);
    expect(operations.at(-1)).toMatchObject({ kind: OPERATION_STATUS, flags: Status.INTERNAL });
    expect(JSON.stringify(system.logs)).toContain('MILLRACE_WRITE_OVERRUN');
    expect(kept.closed).toHaveLength(1);
  });

  test('cancelled: closed with the cause, writes dropped, writable() rejects, RELEASE', async () => {
    const { kept, services } = callback({});
    const system = harness(services);
    const { native } = system;
    begin(system, []);
    await native.batch();
    native.pending[0] = 500_000;
    const waiting = kept.writer?.writable();
    native.record(RECORD_CANCEL, ref(0), { flags: CAUSE_RESET, aux: Status.CANCELLED });
    await native.batch();
    await expect(waiting).rejects.toMatchObject({ code: Status.CANCELLED });
    await expect(kept.writer?.writable()).rejects.toMatchObject({ code: Status.CANCELLED });
    expect(kept.closed).toMatchObject([{ code: Status.CANCELLED }]);
    expect(kept.writer?.write({ text: 'late' })).toBe(false);
    expect(() => kept.writer?.end()).not.toThrow();
    expect(kinds(native)).toEqual([OPERATION_READING, OPERATION_RELEASE]);
  });

  test('cancelled with a promise pending: RELEASE when it has settled', async () => {
    const { promise, open } = gate();
    const { kept, services } = callback({ message: () => promise });
    const system = harness(services);
    begin(system, ['a', 'b']);
    system.native.record(RECORD_CANCEL, ref(0), { flags: CAUSE_RESET, aux: Status.CANCELLED });
    await system.native.batch();
    expect(kept.closed).toHaveLength(1);
    expect(kinds(system.native)).toEqual([OPERATION_READING]);
    open();
    await system.native.batch();
    expect(kinds(system.native)).toEqual([OPERATION_RELEASE]);
    expect(system.native.consumed[0]).toBe(0);
    expect(system.dispatcher.running).toBe(0);
  });

  test.each([
    [
      'throws',
      () => {
        throw new StatusError(Status.DATA_LOSS, 'x');
      },
    ],
    ['rejects', async () => Promise.reject(new StatusError(Status.DATA_LOSS, 'x'))],
  ])('message() that %s fails the call and closes it', async (_how, message) => {
    const { kept, services } = callback({ message });
    const system = harness(services);
    begin(system, ['a', 'b']);
    await system.native.batch();
    expect(system.native.take().at(-1)).toMatchObject({
      kind: OPERATION_STATUS,
      flags: Status.DATA_LOSS,
    });
    expect(kept.closed).toMatchObject([{ code: Status.DATA_LOSS }]);
    expect(system.dispatcher.running).toBe(0);
  });

  test('writer.fail ends the call with a status', async () => {
    const { kept, services } = callback({
      message: () => kept.writer?.fail(new StatusError(Status.OUT_OF_RANGE, 'stop')),
    });
    const system = harness(services);
    begin(system, ['a']);
    await system.native.batch();
    expect(system.native.take().at(-1)).toMatchObject({ flags: Status.OUT_OF_RANGE });
    expect(kept.closed).toMatchObject([{ code: Status.OUT_OF_RANGE }]);
  });

  test('open() that throws fails the call', async () => {
    const system = harness([
      service(Notes, {
        ...rest,
        chat: {
          open() {
            throw new StatusError(Status.UNAUTHENTICATED, 'who?');
          },
        },
      }),
    ]);
    begin(system, ['a']);
    await system.native.batch();
    expect(system.native.take().at(-1)).toMatchObject({ flags: Status.UNAUTHENTICATED });
    expect(system.dispatcher.running).toBe(0);
  });

  test('callbacks run in the async context of their call', async () => {
    const storage = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const system = harness([
      service(Notes, {
        ...rest,
        chat: {
          open(ctx) {
            storage.enterWith(ctx.requestId);
            return {
              message: () => {
                seen.push(storage.getStore() === ctx.requestId);
              },
            };
          },
        },
      }),
    ]);
    const { native, id } = system;
    for (const index of [0, 1]) native.record(RECORD_CALL, ref(index), { method: id('Chat') });
    await native.batch();
    for (const index of [0, 1]) {
      native.record(RECORD_MESSAGE, ref(index), { slot: native.put(encoded({})) });
    }
    await native.batch();
    expect(seen).toEqual([true, true]);
  });

  test('unary and client-streaming methods in callback form reply once', async () => {
    const once = {
      open(_ctx: Context, writer: MessageWriter<NoteInit>) {
        return {
          message: (request: Note) => void writer.write({ text: request.text }),
          end: () => writer.end(),
        };
      },
    };
    const system = harness([service(Notes, { ...rest, one: once, gather: once })]);
    const { native, id } = system;
    native.record(RECORD_REQUEST, ref(0), {
      method: id('One'),
      slot: native.put(encoded({ text: 'u' })),
    });
    native.record(RECORD_CALL, ref(1), { method: id('Gather'), flags: FLAG_END });
    await native.batch();
    expect(native.take()).toMatchObject([
      { kind: OPERATION_MESSAGE, call: ref(0) },
      { kind: OPERATION_STATUS, call: ref(0), flags: 0 },
      { kind: OPERATION_READING, call: ref(1) },
      { kind: OPERATION_STATUS, call: ref(1), flags: Status.INTERNAL },
    ]);
    expect(JSON.stringify(system.logs)).toContain('MILLRACE_REPLY_COUNT');
  });
});

describe('the end of a server', () => {
  test('abortAll cancels with UNAVAILABLE, and counts whom it has cut off', async () => {
    const { promise, open } = gate();
    let reason: unknown;
    const { native, id, dispatcher } = harness([
      service(Notes, {
        ...rest,
        async one(_request, ctx) {
          ctx.signal.addEventListener('abort', () => {
            reason = ctx.signal.reason;
          });
          await promise;
          return {};
        },
      }),
    ]);
    native.record(RECORD_REQUEST, ref(0), { method: id('One'), slot: native.put(encoded({})) });
    // Its client has left, which is no fault of the server's, and its handler has not ended.
    native.record(RECORD_REQUEST, ref(1), { method: id('One'), slot: native.put(encoded({})) });
    native.record(RECORD_CANCEL, ref(1), { flags: CAUSE_RESET, aux: Status.CANCELLED });
    await native.batch();
    expect(dispatcher.unfinished()).toEqual(['/test.Notes/One', '/test.Notes/One']);
    expect(dispatcher.abortAll('going away')).toBe(1);
    expect(reason).toMatchObject({ code: Status.UNAVAILABLE, message: 'going away' });
    open();
    await native.batch();
    expect(native.take()).toMatchObject([
      { kind: OPERATION_STATUS, call: ref(0), flags: Status.UNAVAILABLE },
      { kind: OPERATION_RELEASE, call: ref(1) },
    ]);
    expect(dispatcher.running).toBe(0);
  });
});
