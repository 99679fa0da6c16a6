import type { Context } from '../context/context.js';
import { MillraceError } from '../errors.js';
import type { CallbackHandler, MessageWriter } from '../service/handler.js';
import { StatusError } from '../status/status-error.js';

/** Messages that may wait for the reader before `write` returns false, and before it throws. */
const MARK = 16;
const BOUND = 1024;

/**
 * A handler in callback form as a stream of replies, for the interceptors, which know streams only.
 * Costs what an async generator costs.
 */
export async function* callbackStream(
  handler: CallbackHandler<unknown, unknown>,
  requests: AsyncIterable<unknown>,
  ctx: Context,
): AsyncGenerator<unknown> {
  const replies: unknown[] = [];
  let ended = false;
  let failure: { error: unknown } | undefined;
  let wake: (() => void) | undefined;
  let resume: (() => void) | undefined;
  const changed = () => {
    wake?.();
    wake = undefined;
  };
  const writer: MessageWriter<unknown> = {
    write(message) {
      if (ctx.signal.aborted) return false;
      if (ended) throw new MillraceError('MILLRACE_WRITE_AFTER_END');
      if (replies.length >= BOUND) throw new MillraceError('MILLRACE_WRITE_OVERRUN');
      replies.push(message);
      changed();
      return replies.length < MARK;
    },
    async writable() {
      while (replies.length >= MARK) {
        ctx.signal.throwIfAborted();
        await new Promise<void>((resolve) => {
          resume = resolve;
        });
      }
    },
    end() {
      ended = true;
      changed();
    },
    fail(error) {
      failure ??= { error };
      ended = true;
      changed();
    },
  };
  ctx.signal.addEventListener('abort', () => {
    writer.fail(ctx.signal.reason);
    resume?.();
  });
  const callbacks = handler.open(ctx, writer);
  const pump = async () => {
    for await (const request of requests) {
      await callbacks.message?.(request);
      if (ended) return;
      if (handler.pauseInbound !== false) await writer.writable();
    }
    if (callbacks.end !== undefined) await callbacks.end();
    else if (!ended) writer.end();
  };
  pump().catch((error: unknown) => writer.fail(error));
  let cause: StatusError | undefined;
  try {
    for (;;) {
      if (replies.length > 0) {
        const reply = replies.shift();
        if (replies.length < MARK) resume?.();
        yield reply;
      } else if (failure !== undefined) {
        throw failure.error;
      } else if (ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } catch (error) {
    cause = StatusError.from(error);
    throw error;
  } finally {
    ended = true;
    resume?.();
    callbacks.closed?.(cause);
  }
}
