import { MillraceError } from '../errors.js';
import type { MessageWriter } from '../service/handler.js';
import type { Outbound } from './outbound.js';

/** What a writer needs of its call. */
export interface WriterHost {
  /** The call was cancelled. */
  readonly gone: boolean;
  /** The final operation has been pushed. */
  readonly ended: boolean;
  /** Ends the call regularly. @throws MillraceError MILLRACE_REPLY_COUNT */
  end(messages: number): void;
  fail(error: unknown): void;
}

/** A handler that ignores `false` gets an error at so many times the mark. */
const OVERRUN = 2;

/** The reply side of the callback form. */
export class CallWriter<R> implements MessageWriter<R> {
  readonly #outbound: Outbound<R>;
  readonly #host: WriterHost;
  readonly #bound: number;
  #messages = 0;
  /** The last write said so, or `writable()` since. */
  isWritable = true;

  constructor(outbound: Outbound<R>, host: WriterHost, streamMark: number) {
    this.#outbound = outbound;
    this.#host = host;
    this.#bound = OVERRUN * streamMark;
  }

  write(message: R): boolean {
    const host = this.#host;
    if (host.gone) return false;
    if (host.ended) throw new MillraceError('MILLRACE_WRITE_AFTER_END');
    if (!this.isWritable && this.#outbound.unsent >= this.#bound) {
      throw new MillraceError('MILLRACE_WRITE_OVERRUN');
    }
    this.#messages++;
    this.isWritable = this.#outbound.write(message);
    return this.isWritable;
  }

  writable(): Promise<void> {
    // Who is told so may write, even if others fill the connection before he gets to it.
    if (this.#outbound.isWritable) this.isWritable = true;
    return this.#outbound.writable();
  }

  end(): void {
    const host = this.#host;
    if (host.gone) return;
    if (host.ended) throw new MillraceError('MILLRACE_WRITE_AFTER_END');
    host.end(this.#messages);
  }

  fail(error: unknown): void {
    const host = this.#host;
    if (host.gone) return;
    if (host.ended) throw new MillraceError('MILLRACE_WRITE_AFTER_END');
    host.fail(error);
  }
}
