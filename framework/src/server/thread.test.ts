import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import { FakeNative } from '../bridge/fake-native.js';
import { OPERATION_STATUS, RECORD_REQUEST } from '../bridge/layout.js';
import type { NativeCallbacks } from '../bridge/native.js';
import { attach, type ServiceHost } from '../service/attached.js';
import { service } from '../service/service.js';
import { Status } from '../status/status.js';
import { encoded, type LogLine, type NoteInit, Notes } from './harness.test-support.js';
import { ThreadServer } from './thread.js';

const never = () => {
  throw new Error('not called');
};

/** A thread with one unary call, which ends when `finish` is called. */
async function begun(
  listening: { onDrain?: () => void; onClose?: () => void | Promise<void> } = {},
) {
  let finish!: (reply: NoteInit) => void;
  let signal!: AbortSignal;
  const notes = service(Notes, {
    one: (_request, ctx) => {
      signal = ctx.signal;
      return new Promise<NoteInit>((resolve) => {
        finish = resolve;
      });
    },
    gather: never,
    spread: never,
    chat: never,
  });
  let native!: FakeNative;
  class Native extends FakeNative {
    constructor(options: object, callbacks: NativeCallbacks) {
      super(options, callbacks);
      native = this;
    }
  }
  const logs: LogLine[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => logs.push(JSON.parse(line)) });
  const options = {
    engine: { sendMessageBytes: 1000 },
    backlog: 10,
    handlerGraceMs: 1000,
    compression: 'identity' as const,
  };
  const attached = {
    [attach](host: ServiceHost) {
      if (listening.onDrain !== undefined) host.onDrain(listening.onDrain);
      if (listening.onClose !== undefined) host.onClose(listening.onClose);
      return [];
    },
  };
  const thread = new ThreadServer(Native, [notes, attached], [], logger, options);
  native.record(RECORD_REQUEST, 0, { slot: native.put(encoded({})) });
  await native.batch();
  return { thread, native, logs, finish, signal };
}

const drained = '{"level":"info","event":"drained","message":"every connection has ended"}';

test('methods are registered in the order of their ids', async () => {
  const { native } = await begun();
  expect(native.methods).toEqual([
    { path: '/test.Notes/One', kind: 0 },
    { path: '/test.Notes/Gather', kind: 1 },
    { path: '/test.Notes/Spread', kind: 2 },
    { path: '/test.Notes/Chat', kind: 3 },
  ]);
});

test('close waits until the engine has drained; twice is the same', async () => {
  const { thread, native, finish, signal } = await begun();
  const closing = thread.close(60_000);
  expect(thread.close(0)).toBe(closing);
  expect(native.events).toEqual(['drain']);
  finish({});
  await native.batch();
  native.callbacks.onNotice(drained);
  expect(await closing).toEqual({ completed: 1, aborted: 0 });
  expect(native.events).toEqual(['drain', 'close']);
  expect(signal.aborted).toBe(false);
});

test('what has not ended in time is cancelled with UNAVAILABLE', async () => {
  const { thread, native, signal, finish } = await begun();
  expect(thread.unfinished()).toEqual(['/test.Notes/One']);
  expect(await thread.close(1)).toEqual({ completed: 0, aborted: 1 });
  expect(signal.reason).toMatchObject({ code: Status.UNAVAILABLE });
  expect(native.take()).toMatchObject([{ kind: OPERATION_STATUS, flags: Status.UNAVAILABLE }]);
  expect(native.events).toEqual(['drain', 'close']);
  // The handler ends when it likes, and says nothing to an engine that is gone.
  finish({});
  await native.batch();
  expect(native.take()).toEqual([]);
});

test('what attached services hold is given back after the last call, and awaited', async () => {
  let close!: () => void;
  const closed = new Promise<void>((resolve) => {
    close = resolve;
  });
  const told: string[][] = [];
  const { thread, native } = await begun({
    onClose: () => {
      told.push([...native.events]);
      return closed;
    },
  });
  const closing = thread.close(1);
  let settled = false;
  void closing.then(() => {
    settled = true;
  });
  await vi.waitFor(() => expect(told).toEqual([['drain', 'close']]));
  expect(settled).toBe(false);
  close();
  expect(await closing).toEqual({ completed: 0, aborted: 1 });
});

test('an attached service that fails to close is a log line', async () => {
  const { thread, logs } = await begun({
    onClose: () => {
      throw new Error('the broker has gone');
    },
  });
  await thread.close(1);
  expect(logs.find(({ event }) => event === 'close-failed')).toMatchObject({
    err: { message: 'the broker has gone' },
  });
});

test('stats are those of the engine and of the handlers, also after close', async () => {
  const { thread, native, finish } = await begun();
  expect(thread.stats()).toMatchObject({ driver: 'fake', handlersRunning: 1 });
  finish({});
  await native.batch();
  native.callbacks.onNotice(drained);
  const closing = thread.close(1);
  await closing;
  expect(thread.stats()).toMatchObject({ driver: 'fake', handlersRunning: 0, handlersFinished: 1 });
});

test('notices of the engine are log lines', async () => {
  const { native, logs } = await begun();
  native.callbacks.onNotice(
    '{"level":"warn","event":"connection_error","peer":"1.2.3.4:5","message":"garbage"}',
  );
  expect(logs.at(-1)).toMatchObject({
    level: 40,
    event: 'connection_error',
    peer: '1.2.3.4:5',
    msg: 'garbage',
  });
});

test('attached services hear of a drain before the engine does, and may say something first', async () => {
  const { thread, native } = await begun({ onDrain: () => order.push('told') });
  const order: string[] = [];
  const drain = native.drain.bind(native);
  native.drain = () => {
    order.push('drain');
    drain();
  };
  await thread.close(0);
  expect(order).toEqual(['told', 'drain']);
});
