import type { Metadata } from '../context/metadata.js';
import { Status } from '../status/status.js';
import type { StatusError } from '../status/status-error.js';
import { ClientCall } from './call.js';
import type { CheckedCallOptions } from './call-options.js';
import type { Channel } from './channel.js';
import type { ClientCallCompression } from './compression.js';
import type { ClientMethod } from './method.js';

/** What calls with one response return: a promise of it, with the rest at hand. */
export interface UnaryCall<R> extends Promise<R> {
  /** The response headers' metadata; empty if the call ends without any. Never rejects. */
  readonly headers: Promise<Metadata>;
  /** The trailers' metadata, whatever the status. Never rejects. */
  readonly trailers: Promise<Metadata>;
  /** Whether the response came compressed, and whether requests are. */
  readonly compression: ClientCallCompression;
  /** Gives the call up; the promise rejects with CANCELLED. */
  cancel(reason?: unknown): void;
}

/** What a promise of a response needs of its call, or of what stands for it. */
export interface SidesOfCall {
  readonly headers: Promise<Metadata>;
  readonly trailers: Promise<Metadata>;
  readonly compression: ClientCallCompression;
  cancel(reason?: unknown): void;
}

/** One executor for all promises: no closure per call. */
let capturedResolve: (value: never) => void;
let capturedReject: (error: unknown) => void;
function capture(resolve: (value: never) => void, reject: (error: unknown) => void): void {
  capturedResolve = resolve;
  capturedReject = reject;
}

/** A promise of a response that knows its call. */
export class ResponsePromise<R> extends Promise<R> implements UnaryCall<R> {
  #sides!: SidesOfCall;

  static of<R>(sides: SidesOfCall): {
    promise: ResponsePromise<R>;
    resolve: (value: R) => void;
    reject: (error: unknown) => void;
  } {
    const promise = new ResponsePromise<R>(capture as never);
    promise.#sides = sides;
    return {
      promise,
      resolve: capturedResolve as (value: R) => void,
      reject: capturedReject,
    };
  }

  get headers(): Promise<Metadata> {
    return this.#sides.headers;
  }

  get trailers(): Promise<Metadata> {
    return this.#sides.trailers;
  }

  get compression(): ClientCallCompression {
    return this.#sides.compression;
  }

  cancel(reason?: unknown): void {
    this.#sides.cancel(reason);
  }
}

// `await` takes a promise as it is when its constructor is Promise, and wraps any other; and what
// `then` returns is a plain promise.
Object.defineProperty(ResponsePromise.prototype, 'constructor', { value: Promise });

/** A call with one response: unary and client-streaming. */
export class SingleCall<R> extends ClientCall {
  override messageCompressed = false;
  readonly promise: ResponsePromise<R>;
  readonly #resolve: (value: R) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    channel: Channel,
    method: ClientMethod,
    request: unknown,
    streamsRequests: boolean,
    options: CheckedCallOptions | undefined,
  ) {
    super(channel, method, request, streamsRequests, options);
    const { promise, resolve, reject } = ResponsePromise.of<R>(this);
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  protected override only(slot: number): void {
    let response: R;
    this.messageCompressed = this.engine.isCompressed(slot);
    try {
      response = this.engine.decode(this.method.output, slot) as R;
    } catch (error) {
      this.#reject(this.undecodable(error));
      return;
    }
    this.#resolve(response);
  }

  /** The engine hands over single responses with their status. */
  override message(): void {}

  protected override finished(error: StatusError | undefined): void {
    this.#reject(error ?? this.localError(Status.INTERNAL, 'the server sent no response message'));
    this.release();
  }

  protected override failed(error: unknown): void {
    this.#reject(error);
  }

  undecodable(error: unknown): StatusError {
    const why = error instanceof Error ? error.message : String(error);
    return this.localError(Status.INTERNAL, `invalid response: ${why}`, error);
  }
}

/** A call that streams requests and has one response. */
export class UploadCall<I, R> {
  readonly #call: SingleCall<R>;

  constructor(call: SingleCall<R>) {
    this.#call = call;
    // Whoever writes only learns of a failure there.
    call.promise.catch(() => {});
  }

  /** The response. */
  get response(): UnaryCall<R> {
    return this.#call.promise;
  }

  /** The response headers' metadata; empty if the call ends without any. Never rejects. */
  get headers(): Promise<Metadata> {
    return this.#call.headers;
  }

  /** The trailers' metadata, whatever the status. Never rejects. */
  get trailers(): Promise<Metadata> {
    return this.#call.trailers;
  }

  /** Whether the response came compressed, and whether requests are. */
  get compression(): ClientCallCompression {
    return this.#call.compression;
  }

  /**
   * Sends a message; `false` means: taken, but the server has much to read, so await `writable()`
   * before the next. Once the call is over messages are dropped: `false`.
   */
  write(message: I): boolean {
    return this.#call.requests!.write(message);
  }

  /** Resolves once another message may be written; rejects when the call is over. */
  writable(): Promise<void> {
    return this.#call.requests!.writable();
  }

  /** No more requests. */
  end(): void {
    this.#call.requests!.end();
  }

  /** Gives the call up; the response rejects with CANCELLED. */
  cancel(reason?: unknown): void {
    this.#call.cancel(reason);
  }
}
