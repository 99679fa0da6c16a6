import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import {
  FLAG_END,
  OPERATION_MESSAGE,
  OPERATION_REPLY,
  OPERATION_STATUS,
  RECORD_CALL,
  RECORD_MESSAGE,
  RECORD_REQUEST,
} from '../bridge/layout.js';
import { decodeMetadata } from '../bridge/metadata-block.js';
import { BadRequest } from '../gen/google/rpc/error_details.js';
import { decoded, encoded, harness, Notes, statusMessage } from '../server/harness.test-support.js';
import { service } from '../service/service.js';
import { Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';
import { validate } from './validate.js';

const Upper = z.object({
  text: z
    .string()
    .min(2)
    .transform((text) => text.toUpperCase()),
});
const Later = z.object({ text: z.string().refine(async (text) => text !== 'bad', 'is bad') });

describe('a schema per method', () => {
  const services = [
    service(Notes, {
      one: { input: Upper, handler: async (request) => ({ text: request.text }) },
      gather: {
        input: Later,
        async handler(requests) {
          const texts: string[] = [];
          for await (const request of requests) texts.push(request.text);
          return { text: texts.join() };
        },
      },
      spread: {
        input: Later,
        async *handler(request) {
          yield { text: request.text };
        },
      },
      chat: {
        input: Upper,
        handler: {
          open: (_ctx, writer) => ({
            message(request) {
              writer.write({ text: request.text });
            },
          }),
        },
      },
    }),
  ];

  test('the handler gets what the schema puts out', async () => {
    const { native, id } = harness(services);
    const slot = native.put(encoded({ text: 'abc' }));
    native.record(RECORD_REQUEST, 0, { method: id('One'), slot });
    native.record(RECORD_REQUEST, 1, { method: id('Spread'), slot });
    native.record(RECORD_CALL, 2, { method: id('Gather') });
    native.record(RECORD_MESSAGE, 2, { slot, flags: FLAG_END });
    native.record(RECORD_CALL, 3, { method: id('Chat') });
    native.record(RECORD_MESSAGE, 3, { slot, flags: FLAG_END });
    await native.batch();
    const operations = native.take();
    const replies = (call: number) =>
      operations
        .filter((o) => o.call === call && [OPERATION_MESSAGE, OPERATION_REPLY].includes(o.kind))
        .map(({ bytes }) => decoded(bytes).text);
    expect([0, 1, 2, 3].map(replies)).toEqual([['ABC'], ['abc'], ['abc'], ['ABC']]);
  });

  test.each([
    ['One', 'a', 'text: '],
    ['Spread', 'bad', 'text: is bad'],
    ['Gather', 'bad', 'text: is bad'],
    ['Chat', 'a', 'text: '],
  ])('%s refuses with INVALID_ARGUMENT and a BadRequest', async (name, text, message) => {
    const { native, id } = harness(services);
    const slot = native.put(encoded({ text }));
    const method = id(name);
    if (name === 'Gather' || name === 'Chat') {
      native.record(RECORD_CALL, 0, { method });
      native.record(RECORD_MESSAGE, 0, { slot, flags: FLAG_END });
    } else {
      native.record(RECORD_REQUEST, 0, { method, slot });
    }
    await native.batch();
    const status = native.take().find(({ kind }) => kind === OPERATION_STATUS);
    expect(status?.flags).toBe(Status.INVALID_ARGUMENT);
    const said = statusMessage(status!.bytes);
    expect(said).toContain(message);
    const trailers = decodeMetadata(status!.bytes.subarray(4 + Buffer.byteLength(said)));
    const details = Buffer.from(trailers.get('grpc-status-details-bin')!).toString('latin1');
    expect(details).toContain('type.googleapis.com/google.rpc.BadRequest');
  });
});

test('field paths name members and elements', () => {
  const schema = z.object({ items: z.array(z.object({ price: z.number() })) });
  try {
    validate(schema, { items: [{ price: 1 }, { price: 'x' }] });
    expect.unreachable();
  } catch (error) {
    expect(StatusError.is(error) && error.message).toContain('items[1].price: ');
  }
});

test('of very many faults the first hundred are listed', () => {
  const issues = Array.from({ length: 1000 }, (_, index) => ({ message: 'bad', path: [index] }));
  const schema = {
    '~standard': { version: 1, vendor: 'test', validate: () => ({ issues }) },
  } as const;
  let thrown: unknown;
  try {
    validate(schema, {});
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toMatchObject({ message: 'invalid request: [0]: bad (and 999 more)' });
  const { fieldViolations } = (thrown as StatusError).detail(BadRequest)!;
  expect(fieldViolations.map(({ field }) => field)).toEqual(
    Array.from({ length: 100 }, (_, index) => `[${index}]`),
  );
});
