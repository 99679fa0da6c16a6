import type { Encoding } from '../context/compression.js';
import type { Context } from '../context/context.js';
import { Metadata } from '../context/metadata.js';
import { MillraceError } from '../errors.js';
import { Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';
import {
  type CallOptions,
  type CheckedCallOptions,
  checkCallOptions,
  metadataBlock,
} from './call-options.js';
import type { Channel } from './channel.js';
import {
  type ClientCallCompression,
  ClientCompression,
  type ClientCompressionHost,
} from './compression.js';
import {
  type ClientCallContext,
  type ClientInterceptedCall,
  type ClientInterceptor,
  type ClientNext,
  composeClient,
} from './interceptor.js';
import type { ClientMethod } from './method.js';
import { Pipe, type PipeHost } from './pipe.js';
import { pump } from './request-stream.js';
import { ResponsePromise, SingleCall, type UnaryCall } from './single-call.js';
import { type DuplexCall, StreamCall } from './stream-call.js';

type Source = AsyncIterable<unknown> | Iterable<unknown>;

/** A method whose calls go through interceptors. */
export class Intercepted {
  readonly #channel: Channel;
  readonly #method: ClientMethod;
  readonly #chain: ClientNext;
  readonly #streamsRequests: boolean;
  readonly #streamsResponses: boolean;

  constructor(channel: Channel, method: ClientMethod, interceptors: readonly ClientInterceptor[]) {
    this.#channel = channel;
    this.#method = method;
    this.#streamsRequests = method.kind === 'client-streaming' || method.kind === 'bidi';
    this.#streamsResponses = method.kind === 'server-streaming' || method.kind === 'bidi';
    this.#chain = composeClient(interceptors, (call) => this.#make(call));
  }

  call(given: unknown, options: CallOptions | undefined): unknown {
    const ctx = new InterceptedContext(this.#channel, this.#method, options);
    const pipe = this.#streamsRequests && given === undefined ? new Pipe<unknown>(ctx) : undefined;
    ctx.piped = pipe !== undefined;
    const input = pipe ?? given;
    const output = this.#chain({ method: this.#method, ctx, input });
    if (this.#streamsResponses) return new InterceptedStream(ctx, output, pipe);
    const { promise, resolve, reject } = ResponsePromise.of<unknown>(ctx);
    output.then(resolve, reject).finally(() => ctx.over());
    return pipe === undefined ? promise : new InterceptedUpload(promise, pipe);
  }

  /** The innermost `next`: makes the call. */
  async #make({ ctx, input }: ClientInterceptedCall): Promise<unknown> {
    const context = ctx as InterceptedContext;
    if (this.#streamsRequests && context.made) {
      throw new MillraceError('MILLRACE_INTERCEPTOR_NEXT_TWICE');
    }
    const options = context.optionsForCall();
    const request = this.#streamsRequests ? undefined : input;
    const call = this.#streamsResponses
      ? new StreamCall(this.#channel, this.#method, request, this.#streamsRequests, options)
      : new SingleCall(this.#channel, this.#method, request, this.#streamsRequests, options);
    call.submit();
    context.bind(call);
    if (this.#streamsRequests) void pump(input as Source, call.requests!, call);
    return call instanceof StreamCall ? call : call.promise;
  }
}

type AnyCall = SingleCall<unknown> | StreamCall<unknown>;

/** What interceptors see of a call before, while and after it is made. */
class InterceptedContext implements ClientCallContext, ClientCompressionHost, PipeHost {
  readonly method: ClientMethod;
  readonly target: string;
  readonly metadata: Metadata;
  readonly compression: ClientCallCompression = new ClientCompression(this);
  /** The caller writes through a pipe, where each message keeps what was said of it. */
  piped = false;
  #packs = true;
  /** Of the message on its way through the interceptors. */
  #packsTaken = true;
  readonly #checked: CheckedCallOptions;
  readonly #abort = new AbortController();
  /** The caller's signals: they may outlive many calls. */
  readonly #watched: AbortSignal[] = [];
  #call: AnyCall | undefined;
  #bound!: (call: AnyCall | undefined) => void;
  readonly #whenBound = new Promise<AnyCall | undefined>((resolve) => {
    this.#bound = resolve;
  });

  constructor(channel: Channel, method: ClientMethod, options: CallOptions | undefined) {
    this.method = method;
    this.target = channel.target;
    this.#checked = checkCallOptions(options ?? {});
    this.metadata = this.#checked.metadata ?? new Metadata();
    for (const signal of [this.#checked.signal, this.#checked.parentSignal]) {
      if (signal === undefined) continue;
      if (signal.aborted) this.#abort.abort(signal.reason);
      else {
        signal.addEventListener('abort', this);
        this.#watched.push(signal);
      }
    }
  }

  handleEvent(event: Event): void {
    this.#unwatch();
    this.#abort.abort((event.target as AbortSignal).reason);
  }

  #unwatch(): void {
    for (const signal of this.#watched) signal.removeEventListener('abort', this);
    this.#watched.length = 0;
  }

  get encoding(): Encoding {
    return this.#checked.encoding ?? this.method.encoding;
  }

  get messageCompressed(): boolean {
    return this.#call?.messageCompressed === true;
  }

  get packs(): boolean {
    return this.#packs;
  }

  set packs(packs: boolean) {
    this.#packs = packs;
    if (!this.piped) this.taken(packs);
  }

  taken(packs: boolean): void {
    this.#packsTaken = packs;
    if (this.#call !== undefined) this.#call.packs = packs;
  }

  get made(): boolean {
    return this.#call !== undefined;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get deadline(): Context['deadline'] {
    const { deadlineAt } = this.#checked;
    return deadlineAt === 0 ? undefined : new Date(Date.now() + deadlineAt - performance.now());
  }

  get headers(): Promise<Metadata> {
    return this.#whenBound.then((call) => call?.headers ?? new Metadata());
  }

  get trailers(): Promise<Metadata> {
    return this.#whenBound.then((call) => call?.trailers ?? new Metadata());
  }

  optionsForCall(): CheckedCallOptions {
    return {
      ...this.#checked,
      metadata: this.metadata,
      block: metadataBlock(this.metadata),
      signal: this.#abort.signal,
      parentSignal: undefined,
    };
  }

  bind(call: AnyCall): void {
    this.#call = call;
    call.packs = this.#packsTaken;
    this.#bound(call);
    // Nobody need read a stream to its end.
    if (call instanceof StreamCall) void call.trailers.then(() => this.#unwatch());
  }

  /** The outcome is there, whether the call was made or not. */
  over(): void {
    this.#unwatch();
    this.#bound(undefined);
  }

  cancel(reason?: unknown): void {
    this.#abort.abort(reason ?? new StatusError(Status.CANCELLED, 'cancelled'));
  }
}

/** The responses that come out of the interceptors. */
class InterceptedStream implements DuplexCall<unknown, unknown> {
  readonly #ctx: InterceptedContext;
  readonly #iterator: Promise<AsyncIterator<unknown>>;
  readonly #pipe: Pipe<unknown> | undefined;

  constructor(ctx: InterceptedContext, output: Promise<unknown>, pipe: Pipe<unknown> | undefined) {
    this.#ctx = ctx;
    this.#pipe = pipe;
    this.#iterator = output.then((stream) =>
      (stream as AsyncIterable<unknown>)[Symbol.asyncIterator](),
    );
    this.#iterator.catch((error: unknown) => {
      ctx.over();
      pipe?.fail(error);
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<unknown, undefined>> {
    const iterator = await this.#iterator;
    return (await iterator.next()) as IteratorResult<unknown, undefined>;
  }

  async return(): Promise<IteratorResult<unknown, undefined>> {
    const iterator = await this.#iterator;
    await iterator.return?.();
    return { value: undefined, done: true };
  }

  async throw(error?: unknown): Promise<IteratorResult<unknown, undefined>> {
    await this.return();
    throw error;
  }

  get headers(): Promise<Metadata> {
    return this.#ctx.headers;
  }

  get trailers(): Promise<Metadata> {
    return this.#ctx.trailers;
  }

  get compression(): ClientCallCompression {
    return this.#ctx.compression;
  }

  cancel(reason?: unknown): void {
    this.#ctx.cancel(reason);
  }

  write(message: unknown): boolean {
    return this.#pipe!.write(message);
  }

  writable(): Promise<void> {
    return this.#pipe!.writable();
  }

  end(): void {
    this.#pipe!.end();
  }
}

/** As UploadCall, with the interceptors between. */
class InterceptedUpload {
  readonly response: UnaryCall<unknown>;
  readonly #pipe: Pipe<unknown>;

  constructor(response: UnaryCall<unknown>, pipe: Pipe<unknown>) {
    this.response = response;
    this.#pipe = pipe;
    response.catch((error: unknown) => pipe.fail(error));
  }

  get headers(): Promise<Metadata> {
    return this.response.headers;
  }

  get trailers(): Promise<Metadata> {
    return this.response.trailers;
  }

  get compression(): ClientCallCompression {
    return this.response.compression;
  }

  write(message: unknown): boolean {
    return this.#pipe.write(message);
  }

  writable(): Promise<void> {
    return this.#pipe.writable();
  }

  end(): void {
    this.#pipe.end();
  }

  cancel(reason?: unknown): void {
    this.response.cancel(reason);
  }
}
