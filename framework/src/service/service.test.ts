import { expect, test } from 'vitest';
import { Notes } from '../server/harness.test-support.js';
import { isService, service } from './service.js';

const handlers = {
  one: () => ({}),
  gather: () => ({}),
  async *spread() {
    yield {};
  },
  async *chat() {
    yield {};
  },
};

// What the compiler would refuse, for those who write JavaScript.
const untyped = service as unknown as (descriptor: object, handlers: object) => unknown;

test('joins a descriptor with its handlers', () => {
  const notes = service(Notes, handlers);
  expect(isService(notes)).toBe(true);
  expect(notes.typeName).toBe('test.Notes');
  expect(notes.methods.map(({ descriptor }) => descriptor.name)).toEqual([
    'One',
    'Gather',
    'Spread',
    'Chat',
  ]);
  expect(isService({})).toBe(false);
});

test('handlers keep their object as this', () => {
  const notes = service(Notes, {
    ...handlers,
    one() {
      return { text: Object.keys(this).join() };
    },
  });
  const { form } = notes.methods[0]!;
  expect(form.kind === 'function' && form.call({}, {})).toEqual({ text: 'one,gather,spread,chat' });
});

test.each([
  [{ ...handlers, chat: undefined }, 'MILLRACE_HANDLER_MISSING', 'test.Notes.chat has no handler'],
  [{ ...handlers, Chat: handlers.chat }, 'MILLRACE_METHOD_UNKNOWN', 'no method "Chat"'],
  [{ ...handlers, chat: 5 }, 'MILLRACE_HANDLER_INVALID', 'test.Notes.chat'],
  [{ ...handlers, chat: { opened() {} } }, 'MILLRACE_HANDLER_INVALID', 'open()'],
  [
    { ...handlers, chat: { input: {}, handler() {} } },
    'MILLRACE_HANDLER_INVALID',
    'Standard Schema',
  ],
])('refuses a wrong form', (given, code, text) => {
  expect(() => untyped(Notes, given)).toThrow(code);
  expect(() => untyped(Notes, given)).toThrow(text);
});
