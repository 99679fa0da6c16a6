import { FLAG_COMPRESSED } from '../bridge/layout.js';
import type { Metadata } from '../context/metadata.js';
import { Status } from '../status/status.js';
import type { StatusError } from '../status/status-error.js';
import { Inbound } from '../stream/inbound.js';
import { ClientCall } from './call.js';
import type { ClientCallCompression } from './compression.js';

type Result<R> = IteratorResult<R, undefined>;

/**
 * The responses of a call, to be read once with `for await`. Only an OK status ends the loop; any
 * other is thrown, after everything that came before it. Leaving the loop early cancels the call.
 */
export interface ResponseStream<R> extends AsyncIterableIterator<R, undefined, void> {
  /** The next response, as soon as there is one; done at an OK status. Rejects with any other. */
  next(): Promise<Result<R>>;
  /** Cancels the call, as leaving the loop does. */
  return(): Promise<Result<R>>;
  /** As `return`, and rejects with the error. */
  throw(error?: unknown): Promise<Result<R>>;
  /** Itself. */
  [Symbol.asyncIterator](): this;
  /** The response headers' metadata; empty if the call ends without any. Never rejects. */
  readonly headers: Promise<Metadata>;
  /** The trailers' metadata, whatever the status. Never rejects. */
  readonly trailers: Promise<Metadata>;
  /** Whether the last response came compressed, and whether requests are. */
  readonly compression: ClientCallCompression;
  /** Gives the call up; reading throws CANCELLED from then on. */
  cancel(reason?: unknown): void;
}

/** A call that streams both ways. */
export interface DuplexCall<I, R> extends ResponseStream<R> {
  /**
   * Sends a message; `false` means: taken, but the server has much to read, so await `writable()`
   * before the next. Once the call is over messages are dropped: `false`.
   */
  write(message: I): boolean;
  /** Resolves once another message may be written; rejects when the call is over. */
  writable(): Promise<void>;
  /** No more requests. */
  end(): void;
}

/** A call with a stream of responses: server-streaming and bidi. */
export class StreamCall<R> extends ClientCall implements DuplexCall<unknown, R> {
  /** Made when the first message or pull comes for an attempt that is there. */
  #responses: Responses<R> | undefined;
  /** A pull that came before the call had a connection. */
  #earlyPulls: (() => void)[] | undefined;
  #error: unknown;
  #mayBeCompressed = false;

  // --- for the caller ---

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Result<R>> {
    const responses = this.#responses;
    if (responses !== undefined) return responses.next();
    if (this.ended) return this.#afterEnd();
    return new Promise((resolve, reject) => {
      this.#earlyPulls ??= [];
      this.#earlyPulls.push(() => this.next().then(resolve, reject));
    });
  }

  return(): Promise<Result<R>> {
    if (this.#responses !== undefined) return this.#responses.return();
    this.cancel();
    return Promise.resolve({ value: undefined, done: true });
  }

  throw(error?: unknown): Promise<Result<R>> {
    return this.return().then(() => {
      throw error;
    });
  }

  /** After the end, too: what is unread is given up. */
  override cancel(reason?: unknown): void {
    super.cancel(reason);
    const responses = this.#responses;
    if (responses === undefined || responses.waiting === 0) return;
    responses.fail(this.cancelled(reason));
    this.release();
  }

  override get messageCompressed(): boolean {
    return this.#responses?.compressed === true;
  }

  write(message: unknown): boolean {
    return this.requests!.write(message);
  }

  writable(): Promise<void> {
    return this.requests!.writable();
  }

  end(): void {
    this.requests!.end();
  }

  #afterEnd(): Promise<Result<R>> {
    return this.#error === undefined
      ? Promise.resolve({ value: undefined, done: true })
      : Promise.reject(this.#error);
  }

  // --- for the engine ---

  override response(flags: number): void {
    super.response(flags);
    this.#mayBeCompressed = (flags & FLAG_COMPRESSED) !== 0;
    this.#open();
  }

  override message(slot: number): void {
    if (!this.ended) this.#open().message(slot);
  }

  #open(): Responses<R> {
    if (this.#responses === undefined) {
      this.commit();
      this.#responses = new Responses<R>(this, this.reference, this.#mayBeCompressed);
      this.#pullAgain();
    }
    return this.#responses;
  }

  #pullAgain(): void {
    const pulls = this.#earlyPulls;
    this.#earlyPulls = undefined;
    if (pulls !== undefined) for (const pull of pulls) pull();
  }

  /** A single response to a call that expects a stream does not occur. */
  protected override only(): void {}

  protected override finished(error: StatusError | undefined): void {
    this.#error = error;
    const responses = this.#responses;
    if (responses === undefined) {
      this.release();
      this.#pullAgain();
      return;
    }
    if (error === undefined) responses.end();
    else responses.endWith(error);
    if (responses.waiting === 0) this.release();
  }

  protected override failed(error: unknown): void {
    this.#error = error;
    this.#responses?.fail(error as StatusError);
    this.#pullAgain();
  }

  // --- for the responses ---

  /** The last response was read, after the status had come. */
  drained(): void {
    this.release();
  }

  /** The caller has left the loop. */
  leave(): void {
    if (this.ended) this.release();
    else this.cancel();
  }

  undecodable(error: unknown): StatusError {
    const why = error instanceof Error ? error.message : String(error);
    const failure = this.localError(Status.INTERNAL, `invalid response: ${why}`, error);
    if (this.ended) this.release();
    else this.fail(failure);
    return failure;
  }
}

/** The queue of responses: that of a server's requests, with a call behind it. */
class Responses<R> extends Inbound<R> {
  readonly #call: StreamCall<R>;

  constructor(call: StreamCall<R>, reference: number, mayBeCompressed: boolean) {
    super(call.engine, reference, call.method.output, undefined, mayBeCompressed);
    this.#call = call;
  }

  protected override left(): void {
    this.#call.leave();
  }

  protected override taken(): void {
    this.#call.drained();
  }

  protected override refused(error: unknown): StatusError {
    return this.#call.undecodable(error);
  }
}
