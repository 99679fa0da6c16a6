import { DecodeError } from '../codec/errors.js';
import type { MessageType } from '../codec/message-type.js';
import type { Requests } from '../service/handler.js';
import { Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';
import type { CallPort } from './port.js';
import { SlotQueue } from './slot-queue.js';
import type { Waits } from './waits.js';

type Result<M> = IteratorResult<M, undefined>;

/** What arrives for a call, in either form of its handler. */
export interface InboundSink {
  /** Messages that wait to be pulled. */
  readonly waiting: number;
  /** The message given to the handler last came compressed. */
  readonly compressed: boolean;
  message(slot: number): void;
  /** The peer's regular end. */
  end(): void;
  /** The call is cancelled: its slots must not be read any more. */
  fail(error: StatusError): void;
}

/**
 * The request stream of a generator or client-streaming handler. A message waits in its slot, in the
 * engine's memory, until it is pulled: decoding and consuming happen then.
 */
export class Inbound<M> implements Requests<M>, InboundSink {
  readonly #port: CallPort;
  readonly #call: number;
  readonly #index: number;
  readonly #type: MessageType<M, never>;
  readonly #waits: Waits | undefined;
  readonly #queue = new SlotQueue();
  readonly #mayBeCompressed: boolean;
  compressed = false;
  #reading = false;
  #ended = false;
  /** The handler left the stream, or it failed: no more messages. */
  #closed = false;
  #failure: StatusError | undefined;
  /** The epoch in which CONSUMED was last pushed. */
  #consumedEpoch = -1;
  #resolve: ((result: Result<M>) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;
  /** Pulls beyond the first that waits; `for await` never makes any. */
  #moreWaiters: { resolve(result: Result<M>): void; reject(error: unknown): void }[] | undefined;

  constructor(
    port: CallPort,
    call: number,
    type: MessageType<M, never>,
    waits: Waits | undefined,
    mayBeCompressed = false,
  ) {
    this.#port = port;
    this.#call = call;
    this.#index = call & 0xffff;
    this.#type = type;
    this.#waits = waits;
    this.#mayBeCompressed = mayBeCompressed;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  // --- what the handler calls ---

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Result<M>> {
    if (!this.#reading) {
      this.#reading = true;
      if (!this.#closed) this.#port.sayReading(this.#call);
    }
    if (this.#queue.size > 0) {
      try {
        return Promise.resolve({ value: this.#take(this.#queue.shift()), done: false });
      } catch (error) {
        return Promise.reject(error);
      }
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended || this.#closed) return Promise.resolve({ value: undefined, done: true });
    return this.#wait();
  }

  /** Leaves the stream: what waits and what comes is discarded and credited. */
  return(): Promise<Result<M>> {
    if (!this.#closed) {
      this.#closed = true;
      const unread = !this.#ended || this.#queue.size > 0;
      this.#queue.clear();
      this.left(unread);
      this.#finishWaiters();
    }
    return Promise.resolve({ value: undefined, done: true });
  }

  throw(error?: unknown): Promise<Result<M>> {
    return this.return().then(() => {
      throw error;
    });
  }

  // --- what the engine calls ---

  message(slot: number): void {
    if (this.#closed) return;
    const resolve = this.#resolve;
    if (resolve === undefined) {
      this.#queue.push(slot);
      return;
    }
    const reject = this.#reject!;
    this.#nextWaiter();
    try {
      resolve({ value: this.#take(slot), done: false });
    } catch (error) {
      reject(error);
      this.#rejectWaiters(error);
    }
  }

  end(): void {
    this.#ended = true;
    this.#finishWaiters();
  }

  /** Ends with an error, behind what has arrived. */
  endWith(error: StatusError): void {
    this.#ended = true;
    this.#failure = error;
    this.#rejectWaiters(error);
  }

  fail(error: StatusError): void {
    if (this.#closed && this.#failure !== undefined) return;
    this.#closed = true;
    this.#failure = error;
    this.#queue.clear();
    this.#rejectWaiters(error);
  }

  // --- what differs for a client ---

  /** The reader has left. `unread`: messages wait, or may come. */
  protected left(unread: boolean): void {
    if (unread) this.#port.sayDiscard(this.#call);
  }

  /** The last message was taken, after the end had come. */
  protected taken(): void {}

  /** A message is none of its type. */
  protected refused(error: unknown): StatusError {
    return undecodable(error);
  }

  // --- inside ---

  #take(slot: number): M {
    const port = this.#port;
    let message: M;
    try {
      message = port.decode(this.#type, slot);
    } catch (error) {
      this.#closed = true;
      this.#queue.clear();
      this.#failure = this.refused(error);
      throw this.#failure;
    }
    if (this.#mayBeCompressed) this.compressed = port.isCompressed(slot);
    port.consumed[this.#index]!++;
    const { epoch } = port;
    if (this.#consumedEpoch !== epoch) {
      this.#consumedEpoch = epoch;
      port.sayConsumed(this.#call);
    }
    if (this.#ended && this.#queue.size === 0) this.taken();
    return message;
  }

  #wait(): Promise<Result<M>> {
    const promise = new Promise<Result<M>>(capture);
    const resolve = capturedResolve as (result: Result<M>) => void;
    const reject = capturedReject;
    if (this.#resolve === undefined) {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#waits?.requestsBegin();
    } else {
      this.#moreWaiters ??= [];
      this.#moreWaiters.push({ resolve, reject });
    }
    return promise;
  }

  #nextWaiter(): void {
    const next = this.#moreWaiters?.shift();
    this.#resolve = next?.resolve;
    this.#reject = next?.reject;
    if (next === undefined) this.#waits?.requestsEnd();
  }

  #rejectWaiters(error: unknown): void {
    while (this.#reject !== undefined) {
      const reject = this.#reject;
      this.#nextWaiter();
      reject(error);
    }
  }

  #finishWaiters(): void {
    while (this.#resolve !== undefined) {
      const resolve = this.#resolve;
      this.#nextWaiter();
      resolve({ value: undefined, done: true });
    }
  }
}

/** The status of a request that is no message of its type, as gRPC's list of codes asks. */
export function undecodable(error: unknown): StatusError {
  if (!(error instanceof DecodeError)) throw error;
  return new StatusError(Status.INTERNAL, `invalid request: ${error.message}`, { cause: error });
}

// One executor for all promises: no closure per wait.
let capturedResolve: (value: never) => void;
let capturedReject: (error: unknown) => void;
function capture(resolve: (value: never) => void, reject: (error: unknown) => void): void {
  capturedResolve = resolve;
  capturedReject = reject;
}
