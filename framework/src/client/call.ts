import type { ClientEngine } from '../bridge/client-engine.js';
import {
  FLAG_HAS_METADATA,
  NO_TIMEOUT,
  STATUS_HAS_DETAILS,
  STATUS_HEADERS_SEEN,
  STATUS_LOCAL,
  STATUS_NEVER_SENT,
  STATUS_UNPROCESSED,
} from '../bridge/layout.js';
import { decodeMetadata, decodeStatus, encodeMetadata } from '../bridge/metadata-block.js';
import { type Encoding, encodingNumbers } from '../context/compression.js';
import { Metadata } from '../context/metadata.js';
import { decodeStatusDetails } from '../status/details.js';
import { isStatus, Status, statusName } from '../status/status.js';
import { StatusError } from '../status/status-error.js';
import { type CheckedCallOptions, earliest } from './call-options.js';
import type { Channel, Launchable } from './channel.js';
import {
  type ClientCallCompression,
  ClientCompression,
  type ClientCompressionHost,
} from './compression.js';
import { Elapsed } from './elapsed.js';
import { Hedge } from './hedging.js';
import type { ClientMethod } from './method.js';
import { RequestStream } from './request-stream.js';
import { Retries } from './retry.js';
import { type AttemptSink, NO_CALL } from './thread.js';

/** How an attempt ended. */
export interface Ended {
  readonly code: Status;
  readonly bits: number;
  readonly message: string;
  readonly trailers: Metadata | undefined;
}

/**
 * A call: it waits for a connection, runs as one attempt after another, and ends once. Retries are
 * invisible from above; what comes down is either part of the one attempt that counts, or the end.
 */
export abstract class ClientCall implements AttemptSink, Launchable, ClientCompressionHost {
  readonly channel: Channel;
  readonly method: ClientMethod;
  readonly waitForReady: boolean;
  /** The one request, where there is only one. */
  readonly #request: unknown;
  /** The requests, where they are a stream. */
  readonly requests: RequestStream | undefined;
  /** As of performance.now(); 0: none. */
  readonly deadlineAt: number;
  /** Of a call with a deadline. */
  readonly #elapsed: Elapsed | undefined;
  readonly encoding: Encoding;
  /** Requests written from now on are compressed, if there is an encoding. */
  packs = true;
  #compression: ClientCompression | undefined;
  readonly #block: Uint8Array | undefined;
  readonly #metadata: Metadata | undefined;
  readonly #refusal: unknown;
  readonly #signal: AbortSignal | undefined;
  readonly #parentSignal: AbortSignal | undefined;
  /** The attempt under way. */
  protected reference = NO_CALL;
  /** The caller has the outcome, or will have it once he has read what came before it. */
  ended = false;
  /** The server has begun to answer: no more retries. */
  #committed = false;
  #retries: Retries | undefined;
  #hedge: Hedge | undefined;
  /** The one transparent retry after the server had seen the call. */
  #retriedTransparently = false;
  #pinned = false;
  /** Runs while the call waits: for a connection, or for its next attempt. */
  #deadlineTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #headersGiven: Metadata | undefined;
  #trailersGiven: Metadata | undefined;
  #headersWait: Waiting | undefined;
  #trailersWait: Waiting | undefined;

  constructor(
    channel: Channel,
    method: ClientMethod,
    request: unknown,
    streamsRequests: boolean,
    options: CheckedCallOptions | undefined,
  ) {
    this.channel = channel;
    this.method = method;
    this.#request = request;
    this.requests = streamsRequests
      ? new RequestStream(this, channel.requestBufferBytes(method))
      : undefined;
    const { config } = method;
    let deadlineAt = 0;
    let waitForReady = false;
    if (config !== undefined) {
      waitForReady = config.waitForReady ?? false;
      if (config.timeout !== undefined) deadlineAt = performance.now() + config.timeout;
      if (config.retryPolicy !== undefined) this.#retries = new Retries(config.retryPolicy);
    }
    if (options !== undefined) {
      deadlineAt = earliest(deadlineAt, options.deadlineAt);
      waitForReady = options.waitForReady ?? waitForReady;
      this.#metadata = options.metadata;
      this.#refusal = options.refusal;
      this.#block = options.block;
      this.#signal = options.signal;
      this.#parentSignal = options.parentSignal;
    }
    this.deadlineAt = deadlineAt;
    this.#elapsed = deadlineAt === 0 ? undefined : new Elapsed();
    this.encoding = options?.encoding ?? method.encoding;
    this.waitForReady = waitForReady;
  }

  get engine(): ClientEngine {
    return this.channel.thread.engine;
  }

  /** The response headers' metadata, empty if the call ends without any. Never rejects. */
  get headers(): Promise<Metadata> {
    if (this.#headersGiven !== undefined) return Promise.resolve(this.#headersGiven);
    this.#headersWait ??= new Waiting();
    return this.#headersWait.promise;
  }

  /** The trailers' metadata, whatever the status. Never rejects. */
  get trailers(): Promise<Metadata> {
    if (this.#trailersGiven !== undefined) return Promise.resolve(this.#trailersGiven);
    this.#trailersWait ??= new Waiting();
    return this.#trailersWait.promise;
  }

  get compression(): ClientCallCompression {
    this.#compression ??= new ClientCompression(this);
    return this.#compression;
  }

  /** The response given last came compressed. */
  abstract readonly messageCompressed: boolean;

  // --- the way to the server ---

  /** Begins. */
  submit(): void {
    const { hedgingPolicy } = this.method.config ?? {};
    if (this.#refusal !== undefined) {
      const why = this.#refusal instanceof Error ? this.#refusal.message : String(this.#refusal);
      this.fail(this.localError(Status.INTERNAL, why, this.#refusal));
      return;
    }
    if (this.#signal !== undefined || this.#parentSignal !== undefined) {
      if (!this.#watchSignal(this.#signal) || !this.#watchSignal(this.#parentSignal)) return;
    }
    if (hedgingPolicy === undefined) {
      this.channel.submit(this);
      return;
    }
    this.#hedge = new Hedge(this, hedgingPolicy);
    this.#hedge.begin();
  }

  get over(): boolean {
    return this.ended;
  }

  /** The channel has no connection: the deadline has to be watched here. */
  waiting(): void {
    if (this.deadlineAt === 0 || this.#deadlineTimer !== undefined) return;
    const left = Math.max(0, this.deadlineAt - performance.now());
    this.#deadlineTimer = setTimeout(
      () => this.#deadlineOver(),
      Math.min(Math.ceil(left), 0x7fffffff),
    );
  }

  #deadlineOver(): void {
    const { awaited, failure } = this.channel;
    const message = this.#elapsed!.waiting(awaited, failure);
    this.fail(this.localError(Status.DEADLINE_EXCEEDED, message));
  }

  /** Begins on this connection, which is what the call is about: it is never made on another. */
  launchOn(connection: number): void {
    this.#pinned = true;
    this.launch(connection);
  }

  launch(connection: number): void {
    this.#stopTimers();
    const reference = this.launchAttempt(this, connection, this.#retries?.made ?? 0);
    if (reference !== NO_CALL) this.reference = reference;
  }

  /** Starts an attempt, for the call itself or for one of its hedges. */
  launchAttempt(sink: AttemptSink, connection: number, previous: number): number {
    const { channel, method } = this;
    const { thread } = channel;
    let timeoutMs = NO_TIMEOUT;
    if (this.deadlineAt !== 0) {
      const left = Math.ceil(this.deadlineAt - performance.now());
      if (left <= 0) {
        const message = `the deadline passed before it began${this.#elapsed!.before()}`;
        this.fail(this.localError(Status.DEADLINE_EXCEEDED, message));
        return NO_CALL;
      }
      this.#elapsed!.launched();
      timeoutMs = Math.min(left, NO_TIMEOUT - 1);
    }
    const reference = thread.begin(sink);
    if (reference === NO_CALL) {
      this.fail(
        this.localError(
          Status.RESOURCE_EXHAUSTED,
          `${thread.engine.callCapacity} calls are under way, the limit concurrentCalls`,
        ),
      );
      return NO_CALL;
    }
    const block = previous === 0 ? this.#block : this.#blockAfter(previous);
    const id = method.idFor(thread);
    const encoding = encodingNumbers[this.encoding];
    if (this.requests === undefined) {
      try {
        thread.engine.sendRequest(
          reference,
          connection,
          id,
          timeoutMs,
          encoding,
          block,
          method.input,
          this.#request,
        );
      } catch (error) {
        thread.abandon(reference);
        this.fail(error);
        return NO_CALL;
      }
    } else {
      thread.engine.startCall(reference, connection, id, timeoutMs, encoding, block);
      this.requests.launched(reference);
    }
    channel.callsUnderWay++;
    return reference;
  }

  unavailable(message: string): void {
    this.fail(this.localError(Status.UNAVAILABLE, message));
  }

  /** The metadata of a retry says how many attempts came before it. */
  #blockAfter(previous: number): Uint8Array {
    return encodeMetadata([
      ...(this.#metadata ?? []),
      ['grpc-previous-rpc-attempts', String(previous)],
    ]);
  }

  // --- what comes back ---

  response(flags: number): void {
    this.commit();
    if ((flags & FLAG_HAS_METADATA) !== 0) this.#readHeaders();
    else this.#giveHeaders(new Metadata());
  }

  abstract message(slot: number): void;

  reply(flags: number, slot: number, bits: number): void {
    if ((flags & FLAG_HAS_METADATA) !== 0) this.#readHeaders();
    if ((bits & STATUS_HAS_DETAILS) !== 0) this.#trailersGiven = this.#readEnd(0, bits).trailers;
    this.channel.throttle?.succeeded();
    if (!this.ended) {
      this.ended = true;
      this.only(slot);
      this.#settleSides(undefined);
    }
    this.release();
  }

  /** The one response of a call that has only one; the status was OK. */
  protected abstract only(slot: number): void;

  status(code: number, bits: number): void {
    const end = this.#readEnd(code, bits);
    if (this.ended) {
      this.release();
      return;
    }
    if (code !== Status.OK && this.#again(end)) return;
    this.conclude(end);
  }

  resume(): void {
    this.requests?.resume();
  }

  /** The outcome is what this attempt says. */
  conclude(end: Ended): void {
    const { throttle } = this.channel;
    if (throttle !== undefined && end.code === Status.OK) throttle.succeeded();
    this.#trailersGiven = end.trailers;
    this.ended = true;
    const error = end.code === Status.OK ? undefined : this.#errorOf(end);
    this.finished(error);
    this.#settleSides(error);
  }

  /** The attempt is over: with OK, or with an error. It is to be released once nothing is unread. */
  protected abstract finished(error: StatusError | undefined): void;

  /** The attempt under way is one that a hedge has won. */
  won(reference: number): void {
    this.reference = reference;
    this.channel.thread.adopt(reference, this);
    this.commit();
  }

  /** No more requests are kept: of several attempts under way this one goes on. */
  choose(reference: number): void {
    this.#hedge?.choose(reference);
  }

  endOf(reference: number, code: number, bits: number): Ended {
    const block = (bits & STATUS_HAS_DETAILS) === 0 ? null : this.engine.statusBlock(reference);
    const { message, trailers } = block === null ? nothing : decodeStatus(block);
    return { code: isStatus(code) ? code : Status.UNKNOWN, bits, message, trailers };
  }

  #readEnd(code: number, bits: number): Ended {
    return this.endOf(this.reference, code, bits);
  }

  #readHeaders(): void {
    const block = this.engine.headersBlock(this.reference);
    this.#giveHeaders(block === null ? new Metadata() : decodeMetadata(block));
  }

  #giveHeaders(headers: Metadata): void {
    this.#headersGiven = headers;
    this.#headersWait?.resolve(headers);
  }

  // --- trying again ---

  commit(): void {
    this.#committed = true;
    this.requests?.commit();
  }

  get committed(): boolean {
    return this.#committed || this.requests?.committed === true;
  }

  /** The server has not looked at an attempt that ended so, and the call may be made again. */
  unseen(bits: number): boolean {
    return (
      !this.committed && (bits & STATUS_HEADERS_SEEN) === 0 && (bits & STATUS_UNPROCESSED) !== 0
    );
  }

  /** Whether the call goes on with another attempt. */
  #again(end: Ended): boolean {
    const { code, bits, trailers } = end;
    if (this.committed || this.#pinned || (bits & STATUS_HEADERS_SEEN) !== 0) return false;
    if (code === Status.UNAVAILABLE && this.unseen(bits)) {
      const neverSent = (bits & STATUS_NEVER_SENT) !== 0;
      if (neverSent || !this.#retriedTransparently) {
        if (!neverSent) this.#retriedTransparently = true;
        this.#leaveAttempt();
        this.channel.submit(this);
        return true;
      }
    }
    const pushback = trailers?.get('grpc-retry-pushback-ms');
    const delay = this.#retries?.next(code, pushback, this.channel.throttle);
    if (delay === undefined) return false;
    if (this.deadlineAt !== 0 && performance.now() + delay >= this.deadlineAt) return false;
    if (this.#elapsed !== undefined) {
      this.#elapsed.lastFailure = `${statusName(code)}: ${end.message}`;
    }
    this.#leaveAttempt();
    this.waiting();
    this.#retryTimer = setTimeout(() => this.channel.submit(this), delay);
    return true;
  }

  #leaveAttempt(): void {
    const { reference } = this;
    this.release();
    this.requests?.dropped(reference);
  }

  // --- ends ---

  /** Gives the call up: its caller sees CANCELLED, the server RST_STREAM. */
  cancel(reason?: unknown): void {
    if (!this.ended) this.fail(this.cancelled(reason));
  }

  protected cancelled(reason: unknown): StatusError {
    const code =
      StatusError.is(reason) && reason.code !== Status.OK ? reason.code : Status.CANCELLED;
    const why = reason instanceof Error && reason.message !== '' ? `: ${reason.message}` : '';
    return this.localError(code, `cancelled by the caller${why}`, reason);
  }

  /** The caller's own iterable has thrown: the call fails with that. */
  abandon(error: unknown): void {
    if (!this.ended) this.fail(error);
  }

  /** Ends the call from this side. */
  fail(error: unknown): void {
    if (this.ended) return;
    this.ended = true;
    if (this.reference !== NO_CALL) this.engine.sayCancel(this.reference, Status.CANCELLED);
    this.#hedge?.cancel();
    this.channel.gaveUp();
    this.failed(error);
    this.#settleSides(
      StatusError.is(error) ? error : this.localError(Status.CANCELLED, 'given up', error),
    );
  }

  /** Tells the caller of a failure on this side: what has arrived and is unread is gone. */
  protected abstract failed(error: unknown): void;

  #settleSides(error: StatusError | undefined): void {
    this.#stopTimers();
    if (this.#signal !== undefined) this.#signal.removeEventListener('abort', this);
    if (this.#parentSignal !== undefined) this.#parentSignal.removeEventListener('abort', this);
    this.#giveHeaders(this.#headersGiven ?? new Metadata());
    this.#trailersGiven ??= new Metadata();
    this.#trailersWait?.resolve(this.#trailersGiven);
    this.requests?.fail(error ?? this.localError(Status.OK, 'the call is over'));
  }

  /** The engine may forget the attempt. */
  protected release(): void {
    const { reference } = this;
    if (reference === NO_CALL) return;
    this.reference = NO_CALL;
    this.channel.thread.end(reference);
    this.channel.callOver();
  }

  #stopTimers(): void {
    if (this.#deadlineTimer !== undefined) clearTimeout(this.#deadlineTimer);
    if (this.#retryTimer !== undefined) clearTimeout(this.#retryTimer);
    this.#deadlineTimer = undefined;
    this.#retryTimer = undefined;
  }

  // --- errors ---

  /** An error of this side names method, target and cause. */
  localError(code: Status, message: string, cause?: unknown): StatusError {
    return new StatusError(code, this.#named(message), cause === undefined ? undefined : { cause });
  }

  #named(message: string): string {
    return `${this.method.path} at ${this.channel.target}: ${message}`;
  }

  #errorOf({ code, bits, message, trailers }: Ended): StatusError {
    const said = message === '' ? statusName(code) : message;
    const late = code === Status.DEADLINE_EXCEEDED ? this.#elapsed : undefined;
    if ((bits & STATUS_LOCAL) !== 0) {
      return this.localError(code, late === undefined ? said : said + late.before());
    }
    const bytes = trailers?.get('grpc-status-details-bin');
    const details = bytes === undefined ? undefined : decodeStatusDetails(bytes);
    // What cannot be read stays where it is.
    if (details !== undefined) trailers?.delete('grpc-status-details-bin');
    // A server that watches the deadline too may be the first to say so.
    const shown = late === undefined ? message : this.#named(`the server says: ${said}`);
    return new StatusError(code, shown, { metadata: trailers, details });
  }

  // --- signals ---

  #watchSignal(signal: AbortSignal | undefined): boolean {
    if (signal === undefined) return true;
    if (signal.aborted) {
      this.cancel(signal.reason);
      return false;
    }
    signal.addEventListener('abort', this);
    return true;
  }

  handleEvent(event: Event): void {
    this.cancel((event.target as AbortSignal).reason);
  }
}

const nothing: { message: string; trailers: Metadata | undefined } = {
  message: '',
  trailers: undefined,
};

class Waiting {
  resolve!: (metadata: Metadata) => void;
  readonly promise = new Promise<Metadata>((resolve) => {
    this.resolve = resolve;
  });
}
