import { expect, test } from 'vitest';
import { decoded, Note } from '../server/harness.test-support.js';
import { FakeNative } from './fake-native.js';
import {
  OPERATION_HEADERS,
  OPERATION_MESSAGE,
  OPERATION_READING,
  OPERATION_REPLY,
  OPERATION_START,
} from './layout.js';
import { Operations } from './operations.js';

const ARENA = 256;

function operations(capacity = 64, messageBytesMax = 10_000) {
  const nothing = () => {};
  const callbacks = { onBatch: nothing, onRegion: nothing, onNotice: nothing };
  const native = new FakeNative({}, callbacks, { operations: capacity, arena: ARENA });
  const { operations: table, arena } = native.views();
  const { control } = native;
  const made = new Operations(
    native,
    control,
    new Uint32Array(table),
    new Uint8Array(arena),
    messageBytesMax,
  );
  return { native, made };
}

/** A message whose last field has a getter that does something when it is read first. */
function doing(text: string, act: () => void, bytes = 3) {
  let acted = false;
  return {
    text,
    get data() {
      if (!acted) {
        acted = true;
        act();
      }
      return new Uint8Array(bytes).fill(7);
    },
  };
}

const texts = (native: FakeNative) =>
  native
    .take()
    .map(({ kind, call, bytes }) => [
      kind,
      call,
      kind === OPERATION_HEADERS ? [...bytes] : decoded(bytes).text,
    ]);

test('what a getter sends comes before its own message, which stays whole', () => {
  const { native, made } = operations();
  made.message(1, Note, { text: 'before' });
  const inner = doing('inner', () => made.headers(2, new Uint8Array([1, 2, 3])));
  made.message(
    3,
    Note,
    doing('outer', () => {
      made.message(4, Note, inner);
      made.reply(5, Note, { text: 'reply' });
    }),
  );
  made.message(1, Note, { text: 'after' });
  expect(texts(native)).toEqual([
    [OPERATION_MESSAGE, 1, 'before'],
    [OPERATION_HEADERS, 2, [1, 2, 3]],
    [OPERATION_MESSAGE, 4, 'inner'],
    [OPERATION_REPLY, 5, 'reply'],
    [OPERATION_MESSAGE, 3, 'outer'],
    [OPERATION_MESSAGE, 1, 'after'],
  ]);
});

test.each([
  ['fills the queue', 2, 3],
  ['has a message larger than the arena', 64, 2 * ARENA],
  ['has one that fits no more', 64, ARENA - 10],
])('a getter that %s takes nothing from its message', (_what, capacity, bytes) => {
  const { native, made } = operations(capacity);
  const act = () => {
    made.reading(8);
    made.message(
      4,
      Note,
      doing('inner', () => made.reading(9), bytes),
    );
  };
  for (const text of ['one', 'two', 'three']) {
    made.message(3, Note, doing(text, act));
    made.reply(5, Note, doing(text, act, bytes));
  }
  const sent = native.take().filter(({ kind }) => kind !== OPERATION_READING);
  expect(sent.map(({ call, bytes: message }) => [call, decoded(message).text])).toEqual(
    ['one', 'two', 'three'].flatMap((text) => [
      [4, 'inner'],
      [3, text],
      [4, 'inner'],
      [5, text],
    ]),
  );
  for (const { call, bytes: message } of sent) {
    const { data } = decoded(message);
    expect(data).toEqual(new Uint8Array(call === 3 ? 3 : bytes).fill(7));
  }
});

test('a getter that begins a call', () => {
  const { native, made } = operations(4);
  const block = new Uint8Array([1, 2, 3]);
  for (let round = 0; round < 3; round++) {
    const first = doing('outer', () =>
      made.request(6, 0, 0, 0, 0, block, Note, { text: 'inner', data: new Uint8Array(10) }),
    );
    made.request(5, 0, 0, 0, 0, block, Note, first);
  }
  const sent = native.take().filter(({ kind }) => kind === OPERATION_MESSAGE || kind === 1);
  expect(sent.map(({ call, bytes }) => [call, decoded(bytes).text])).toEqual(
    Array.from({ length: 3 }, () => [
      [6, 'inner'],
      [5, 'outer'],
    ]).flat(),
  );
});

test('nothing begins of a call whose message a getter cannot encode', () => {
  const { native, made } = operations(64, 100);
  const act = () => {
    expect(() =>
      made.request(6, 0, 0, 0, 0, undefined, Note, { data: new Uint8Array(101) }),
    ).toThrow('limit of 100 bytes');
    expect(() => made.message(7, Note, { text: 5 as never })).toThrow('text');
  };
  made.message(1, Note, doing('outer', act));
  const sent = native.take();
  expect(sent.filter(({ kind }) => kind === OPERATION_START)).toEqual([]);
  expect(sent.map(({ call }) => call)).toEqual([1]);
});

test('what a getter has sent leaves, though its own message cannot be encoded', () => {
  const { native, made } = operations();
  const wrong = doing('outer', () => {
    made.message(2, Note, { text: 'inner' });
    throw new Error('no data');
  });
  expect(() => made.message(1, Note, wrong)).toThrow('no data');
  made.message(3, Note, { text: 'after' });
  expect(texts(native)).toEqual([
    [OPERATION_MESSAGE, 2, 'inner'],
    [OPERATION_MESSAGE, 3, 'after'],
  ]);
});
