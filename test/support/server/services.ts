// The echo contract, with handlers that misbehave on demand: the request metadata `mode` says how.

import { appendFileSync } from 'node:fs';
import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import {
  badRequest,
  type Context,
  detailOf,
  ErrorInfo,
  Help,
  RetryInfo,
  Status,
  StatusError,
  service,
} from 'millrace';
import { durationFromMs } from 'millrace/codec';
import type { HandlerCounters, ServerConfiguration } from './protocol.js';

export const counters: HandlerCounters = {
  started: 0,
  aborted: 0,
  ended: 0,
  endedBeforeAbort: 0,
  truncated: 0,
  wroteAfterAbort: 0,
  consumed: 0,
  closed: 0,
  reasons: {},
};

const { journal } = JSON.parse(process.env['MILLRACE_TEST'] ?? '{}') as ServerConfiguration;

/** Writes down that a unary call has begun; synchronously, for the process may end any time. */
function note(text: string): void {
  if (journal !== undefined) appendFileSync(journal, `${text}\n`);
}

const waiting = new Set<() => void>();
let isOpen = false;

/** Lets every handler that waits in the modes `ignore`, `gate` and `gated-pull` go on. */
export function release(): void {
  for (const go of waiting) go();
  waiting.clear();
}

/** Lets them go on, and those that come later. */
export function openGate(): void {
  isOpen = true;
  release();
}

async function released(): Promise<void> {
  if (!isOpen) await new Promise<void>((resolve) => waiting.add(resolve));
}

/** Counts a call; the function returned is called when its handler ends. */
function begin(ctx: Context): (cancelled: boolean) => void {
  counters.started++;
  ctx.signal.addEventListener('abort', () => {
    counters.aborted++;
    const code = StatusError.is(ctx.signal.reason) ? ctx.signal.reason.code : -1;
    counters.reasons[code] = (counters.reasons[code] ?? 0) + 1;
  });
  return (cancelled) => {
    counters.ended++;
    if (cancelled && !ctx.signal.aborted) counters.endedBeforeAbort++;
  };
}

function modeOf(ctx: Context): string {
  return String(ctx.metadata.get('mode') ?? '');
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason));
  });
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** How a call in this mode fails or waits, whatever its kind. */
async function misbehave(mode: string, ctx: Context): Promise<void> {
  const [name, argument] = mode.split(':');
  switch (name) {
    case 'throw':
      throw new Error('the secret cause');
    case 'status':
      throw new StatusError(Number(argument) as Status, 'größer – 100 %\n', {
        metadata: { 'x-trailer': 'set', 'x-trailer-bin': new Uint8Array([0, 255, 171]) },
      });
    case 'details':
      throw new StatusError(Status.RESOURCE_EXHAUSTED, 'größer als erlaubt', {
        metadata: { 'x-trailer': 'set' },
        details: [
          { typeUrl: 'type.googleapis.com/orders.v1.Unheard', value: new Uint8Array([8, 1]) },
          detailOf(ErrorInfo, { reason: 'OUT_OF_STOCK', metadata: { left: '0' } }),
          detailOf(RetryInfo, { retryDelay: durationFromMs(1500) }),
          badRequest([{ field: 'items[2].price', description: 'negative' }]),
          detailOf(Help, { links: [{ description: 'limits', url: 'https://example.com/' }] }),
        ],
      });
    case 'trailers-then-never':
      ctx.trailers.set('x-so-far', 'half');
      return aborted(ctx.signal);
    case 'never-ends':
      return aborted(ctx.signal);
    case 'ignore':
    case 'gate':
      return released();
    case 'sleep':
      return sleep(Number(argument));
    case 'exit':
      return process.exit(Number(argument));
    default:
  }
}

async function watched<T>(ctx: Context, work: () => Promise<T>): Promise<T> {
  const end = begin(ctx);
  let cancelled = true;
  try {
    const result = await work();
    cancelled = false;
    return result;
  } catch (error) {
    cancelled = StatusError.is(error) && error.code === Status.CANCELLED;
    throw error;
  } finally {
    end(cancelled);
  }
}

/** Messages that the client announced it would send; a regular end before that is a truncation. */
function checkEnd(ctx: Context, count: number): void {
  const expected = ctx.metadata.get('expected');
  if (expected !== undefined && count !== Number(expected)) counters.truncated++;
}

const LARGE = new Uint8Array(16_384).fill(0x61);

export const echo = service(Echo, {
  say(request, ctx) {
    return watched(ctx, async () => {
      note(request.text);
      const mode = modeOf(ctx);
      if (mode === 'compression') {
        return { text: `${ctx.compression.received}`, data: new Uint8Array(10_000) };
      }
      if (mode.startsWith('encoding:')) {
        ctx.compression.encoding = mode.slice(9) as 'gzip';
        return { data: new Uint8Array(10_000) };
      }
      if (mode === 'mirror') {
        const given = [...ctx.metadata].filter(([name]) => name.startsWith('x-'));
        ctx.sendHeaders(given);
        ctx.trailers.merge(given).set('grpc-retry-pushback-ms', '-1');
        return { text: [...ctx.metadata.keys()].join() };
      }
      if (request.text === 'add metadata') {
        const before = ctx.metadata.size;
        ctx.metadata.set('x-added', 'by the handler');
        return { text: String(before) };
      }
      if (mode === 'length') return { text: String(request.data.length) };
      if (mode === 'metadata') {
        ctx.sendHeaders({
          'x-echo': String(ctx.metadata.get('x-echo') ?? ''),
          'x-echo-bin': ctx.metadata.get('x-echo-bin') ?? new Uint8Array(0),
        });
        ctx.trailers.set('x-peer', ctx.peer.address);
        ctx.trailers.set('x-identity', JSON.stringify(ctx.peer.identity ?? null));
        return { text: ctx.deadline === undefined ? 'no deadline' : ctx.deadline.toISOString() };
      }
      if (mode !== '') await misbehave(mode, ctx);
      return { text: request.text, data: request.data };
    });
  },

  collect(requests, ctx) {
    return watched(ctx, async () => {
      const mode = modeOf(ctx);
      let count = 0;
      let bytes = 0;
      if (mode.startsWith('leave:')) {
        const enough = Number(mode.slice(6));
        for await (const request of requests) {
          bytes += request.data.length;
          if (++count === enough) break;
        }
        return { count, bytes };
      }
      if (mode !== '') await misbehave(mode, ctx);
      for await (const request of requests) {
        count++;
        bytes += request.data.length;
        counters.consumed++;
      }
      checkEnd(ctx, count);
      return { count, bytes };
    });
  },

  async *expand(request, ctx) {
    const end = begin(ctx);
    let finished = false;
    try {
      const mode = modeOf(ctx);
      if (mode === 'flood') {
        for (;;) yield { data: LARGE };
      }
      for (let index = 0; index < request.count; index++) {
        if (mode === `throw-after:${index}`) {
          finished = true;
          throw new Error('the secret cause');
        }
        yield { text: request.text, data: request.data };
      }
      if (mode !== '') await misbehave(mode, ctx);
      finished = true;
    } finally {
      end(!finished);
    }
  },

  async *chat(requests, ctx) {
    const end = begin(ctx);
    let finished = false;
    try {
      const mode = modeOf(ctx);
      if (mode === 'yield-after-cancel') {
        await aborted(ctx.signal).catch(() => {});
        for (let index = 0; index < 3; index++) {
          counters.wroteAfterAbort++;
          yield { text: 'too late' };
        }
      }
      if (mode === 'flood') {
        for (;;) yield { data: LARGE };
      }
      if (mode === 'compression') {
        // Compresses each reply as its request was.
        ctx.compression.encoding = 'gzip';
        for await (const request of requests) {
          ctx.compression.enabled = ctx.compression.received;
          yield { text: String(ctx.compression.received), data: request.data };
        }
      }
      if (mode.startsWith('slow:')) {
        for await (const request of requests) {
          await sleep(Number(mode.slice(5)));
          counters.consumed++;
          yield { text: request.text, data: request.data };
        }
      } else if (mode === 'silent') {
        for await (const _ of requests) counters.consumed++;
      } else if (mode === 'gated-pull') {
        await Promise.race([released(), aborted(ctx.signal)]);
      } else if (mode !== '') {
        await misbehave(mode, ctx);
      }
      let count = 0;
      for await (const request of requests) {
        count++;
        counters.consumed++;
        yield { text: request.text, data: request.data };
      }
      checkEnd(ctx, count);
      finished = true;
    } finally {
      end(!finished);
    }
  },

  chatFast: {
    open(ctx, writer) {
      counters.started++;
      ctx.signal.addEventListener('abort', () => {
        counters.aborted++;
      });
      const mode = modeOf(ctx);
      if (mode === 'throw') throw new Error('the secret cause');
      return {
        message(request) {
          counters.consumed++;
          if (mode === 'compression') {
            writer.write({ text: String(ctx.compression.received), data: request.data });
            return;
          }
          if (mode === 'throw-in-message') throw new Error('the secret cause');
          writer.write({ text: request.text, data: request.data });
        },
        end() {
          writer.end();
        },
        closed() {
          counters.closed++;
          counters.ended++;
        },
      };
    },
  },
});

export default [echo];
