// Each block below is a mistake; the comment above it is the first line of the compiler's answer.
// type-errors.test.ts compiles this file and compares.

import * as z from 'zod';
import { type Note, Notes } from '../server/harness.test-support.js';
import type { Subscription } from '../topics/subscription.js';
import { service } from './service.js';

const one = async (request: Note) => ({ text: request.text });
const gather = async () => ({ text: '' });
const spread = async function* () {
  yield { text: '' };
};
const chat = spread;
declare const texts: Subscription<{ texts: string }>;

// A handler in each form is right.
service(Notes, {
  async one(request, ctx) {
    const aborted: boolean = ctx.signal.aborted;
    return aborted ? {} : { text: request.text, data: request.data };
  },
  gather: {
    input: z.object({ text: z.coerce.number() }),
    async handler(requests) {
      let sum = 0;
      for await (const request of requests) sum += request.text;
      return { text: String(sum) };
    },
  },
  async *spread(request) {
    yield { text: request.text };
  },
  chat: {
    open(_ctx, writer) {
      return {
        message(request) {
          writer.write({ text: request.text });
        },
      };
    },
  },
});

// So are the three ways to return a subscription.
declare const notes: Subscription<Note>;
service(Notes, {
  one,
  gather,
  spread: () => notes,
  async *chat(requests) {
    for await (const request of requests) yield { text: request.text };
    return notes;
  },
});
service(Notes, { one, gather, spread: async () => notes, chat });

// Spread: the reply has no field 'texts'
service(Notes, { one, gather, chat, spread: () => texts });

// Chat: the reply has no field 'texts'
service(Notes, {
  one,
  gather,
  spread,
  async *chat() {
    yield { text: '' };
    return texts;
  },
});

// One: the reply has no field 'texts'
service(Notes, { gather, spread, chat, one: async (request) => ({ texts: request.text }) });

// One: field 'text' of the reply has the wrong type
service(Notes, { gather, spread, chat, one: async () => ({ text: 5 }) });

// One: the reply is no message
service(Notes, { gather, spread, chat, one: async () => {} });

// One is unary: return one message, do not yield
service(Notes, { gather, spread, chat, one: spread });

// Gather is client-streaming: return one message, do not yield
service(Notes, { one, spread, chat, gather: spread });

// Spread is server-streaming: make it an async generator (async *) and yield its messages
service(Notes, { one, gather, chat, spread: async () => ({ text: '' }) });

// Chat: the reply has no field 'texts'
service(Notes, {
  one,
  gather,
  spread,
  async *chat(requests) {
    for await (const request of requests) yield { texts: request.text };
  },
});

// Chat: field 'data' of the reply has the wrong type
service(Notes, {
  one,
  gather,
  spread,
  async *chat() {
    yield { data: 'text' };
  },
});

// One: the reply has no field 'texts'
service(Notes, {
  gather,
  spread,
  chat,
  one: { input: z.object({ n: z.number() }), handler: (request) => ({ texts: request.n }) },
});

// test.Notes has no method 'more'
service(Notes, { one, gather, spread, chat, more: one });

// Property 'chat' is missing
service(Notes, { one, gather, spread });

// 'texts' does not exist in type 'NoteInit'
service(Notes, {
  one,
  gather,
  spread,
  chat: {
    open: (_ctx, writer) => ({
      message() {
        writer.write({ texts: '' });
      },
    }),
  },
});

// Property 'texts' does not exist on type 'Note'
service(Notes, { gather, spread, chat, one: (request) => ({ text: request.texts }) });
