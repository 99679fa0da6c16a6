// The echo contract, with handlers that check every request and answer what its label asks for. The
// request metadata `behave` has them wait, fail or leave.

import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import { type Context, type Service, Status, StatusError, service } from 'millrace';
import { type Content, readLabel, replyKey, requestKey } from '../support/content.js';
import type { ServerCounters } from './options.js';

interface EchoMessage {
  readonly text: string;
  readonly data: Uint8Array;
}

const aborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason));
  });

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export function checkingEcho(content: Content, counters: ServerCounters): Service {
  function wrong(what: string): never {
    counters.wrong++;
    throw new StatusError(Status.DATA_LOSS, what);
  }

  /** Checks a request; returns the reply that it asks for. */
  function answer({ text, data }: EchoMessage, expectedIndex: number): EchoMessage {
    const label = readLabel(text);
    const { call, index, length, replyLength } = label;
    if (index !== expectedIndex) wrong(`message ${index} of ${call} where ${expectedIndex} is due`);
    if (!content.matches(requestKey(call, index), length, data)) {
      wrong(`message ${index} of ${call} has ${data.length} bytes that are not the ${length} sent`);
    }
    return { text, data: content.bytes(replyKey(call, index), replyLength) };
  }

  /** Waits or fails as the call's metadata asks for. */
  async function behave(ctx: Context): Promise<void> {
    const compress = ctx.metadata.get('compress');
    if (compress !== undefined) ctx.compression.encoding = compress as 'gzip';
    const [name, argument] = String(ctx.metadata.get('behave') ?? '').split(':');
    switch (name) {
      case 'hang':
        return aborted(ctx.signal);
      case 'sleep':
        await sleep(Number(argument));
        return;
      case 'fail':
        throw new StatusError(Number(argument) as Status, `as asked: ${argument}`);
      case 'refuse': {
        const made = Number(ctx.metadata.get('grpc-previous-rpc-attempts') ?? 0);
        if (made < Number(argument)) throw new StatusError(Status.UNAVAILABLE, 'not yet, as asked');
        return;
      }
      default:
    }
  }

  /** A regular end before all that was announced would be a truncation. */
  function checkEnd(ctx: Context, count: number): void {
    const expected = Number(ctx.metadata.get('expected'));
    if (count !== expected) wrong(`a stream of ${expected} messages ended after ${count}`);
  }

  async function counted<T>(work: () => Promise<T>): Promise<T> {
    counters.started++;
    try {
      return await work();
    } finally {
      counters.ended++;
    }
  }

  async function* exchange(requests: AsyncIterable<EchoMessage>, ctx: Context) {
    counters.started++;
    try {
      await behave(ctx);
      let count = 0;
      for await (const request of requests) yield answer(request, count++);
      checkEnd(ctx, count);
    } finally {
      counters.ended++;
    }
  }

  return service(Echo, {
    say: (request, ctx) =>
      counted(async () => {
        await behave(ctx);
        return answer(request, 0);
      }),

    collect: (requests, ctx) =>
      counted(async () => {
        await behave(ctx);
        const enough = Number(ctx.metadata.get('enough') ?? Number.POSITIVE_INFINITY);
        let count = 0;
        let bytes = 0;
        for await (const request of requests) {
          answer(request, count++);
          bytes += request.data.length;
          if (count === enough) return { count, bytes };
        }
        checkEnd(ctx, count);
        return { count, bytes };
      }),

    async *expand(request, ctx) {
      counters.started++;
      try {
        await behave(ctx);
        const call = request.text;
        for (let index = 0; index < request.count; index++) {
          const key = replyKey(call, index);
          yield { text: `${call}/${index}`, data: content.bytes(key, content.lengthOf(key)) };
        }
      } finally {
        counters.ended++;
      }
    },

    chat: (requests, ctx) => exchange(requests, ctx),

    chatFast: {
      open(ctx, writer) {
        counters.started++;
        let count = 0;
        return {
          message(request) {
            writer.write(answer(request, count++));
          },
          end() {
            checkEnd(ctx, count);
            writer.end();
          },
          closed() {
            counters.ended++;
          },
        };
      },
    },
  });
}
