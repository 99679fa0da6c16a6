import type { AsyncResource } from 'node:async_hooks';
import type { MessageType } from '../codec/message-type.js';
import type { CallbackCall } from '../service/handler.js';
import type { StatusError } from '../status/status-error.js';
import { type InboundSink, undecodable } from './inbound.js';
import type { CallPort } from './port.js';
import { SlotQueue } from './slot-queue.js';

/** What a delivery needs of its call. */
export interface DeliveryHost {
  /** The writer is over its mark, and the handler has not opted out of pausing. */
  readonly paused: boolean;
  /** A callback threw or rejected. */
  failed(error: unknown): void;
  /** The last message was consumed and the peer has ended; the handler has no `end`. */
  finished(): void;
  /** No callback is running any more after `fail`. */
  settled(): void;
}

/**
 * The request stream of the callback form. The next message is delivered when the last one is
 * consumed (`message` returned, or its promise settled) and the writer is under its mark.
 */
export class Delivery<I> implements InboundSink {
  readonly #port: CallPort;
  readonly #call: number;
  readonly #index: number;
  readonly #type: MessageType<I, never>;
  readonly #callbacks: CallbackCall<I>;
  readonly #host: DeliveryHost;
  /** The async context of the call. */
  readonly #scope: AsyncResource;
  readonly #queue = new SlotQueue();
  readonly #mayBeCompressed: boolean;
  compressed = false;
  /** The promise of a callback has not settled yet. */
  #busy = false;
  #ended = false;
  #closed = false;
  #consumedEpoch = -1;

  constructor(
    port: CallPort,
    call: number,
    type: MessageType<I, never>,
    callbacks: CallbackCall<I>,
    host: DeliveryHost,
    scope: AsyncResource,
    mayBeCompressed = false,
  ) {
    this.#port = port;
    this.#call = call;
    this.#index = call & 0xffff;
    this.#type = type;
    this.#callbacks = callbacks;
    this.#host = host;
    this.#scope = scope;
    this.#mayBeCompressed = mayBeCompressed;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** Whether the promise of a callback is pending. */
  get busy(): boolean {
    return this.#busy;
  }

  message(slot: number): void {
    if (this.#closed) return;
    if (this.#busy || this.#queue.size > 0 || this.#host.paused) {
      this.#queue.push(slot);
      return;
    }
    this.#deliver(slot);
  }

  end(): void {
    this.#ended = true;
    this.resume();
  }

  /** A message that is not in a slot: the request of a server-streaming method. */
  only(message: I): void {
    this.#ended = true;
    this.#hand(message, false);
    this.resume();
  }

  /** Delivers what waits, as far as it may. */
  resume(): void {
    const queue = this.#queue;
    while (queue.size > 0) {
      if (this.#busy || this.#host.paused) return;
      this.#deliver(queue.shift());
    }
    if (this.#ended && !this.#busy && !this.#closed) this.#finish();
  }

  /** The call ended on this side: what waits and what comes is of no interest. */
  leave(): void {
    this.#closed = true;
    this.#queue.clear();
  }

  fail(_error: StatusError): void {
    this.leave();
  }

  #deliver(slot: number): void {
    let message: I;
    if (this.#mayBeCompressed) this.compressed = this.#port.isCompressed(slot);
    try {
      message = this.#port.decode(this.#type, slot);
    } catch (error) {
      this.#host.failed(undecodable(error));
      return;
    }
    this.#hand(message, true);
  }

  #hand(message: I, inSlot: boolean): void {
    const callbacks = this.#callbacks;
    if (callbacks.message !== undefined) {
      let result: unknown;
      try {
        result = this.#scope.runInAsyncScope(callbacks.message, callbacks, message);
      } catch (error) {
        this.#host.failed(error);
        return;
      }
      if (isThenable(result)) {
        this.#await(result, inSlot);
        return;
      }
    }
    if (inSlot) this.#consume();
  }

  #consume(): void {
    if (this.#closed) return;
    const port = this.#port;
    port.consumed[this.#index]!++;
    const { epoch } = port;
    if (this.#consumedEpoch !== epoch) {
      this.#consumedEpoch = epoch;
      port.sayConsumed(this.#call);
    }
  }

  async #await(promise: PromiseLike<unknown>, inSlot: boolean): Promise<void> {
    this.#busy = true;
    try {
      await promise;
    } catch (error) {
      this.#busy = false;
      this.#host.failed(error);
      if (this.#closed) this.#host.settled();
      return;
    }
    this.#busy = false;
    if (this.#closed) {
      this.#host.settled();
      return;
    }
    if (inSlot) this.#consume();
    this.resume();
  }

  #finish(): void {
    this.#closed = true;
    const callbacks = this.#callbacks;
    if (callbacks.end === undefined) {
      this.#host.finished();
      return;
    }
    let result: unknown;
    try {
      result = this.#scope.runInAsyncScope(callbacks.end, callbacks);
    } catch (error) {
      this.#host.failed(error);
      return;
    }
    if (isThenable(result)) this.#await(result, false);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}
