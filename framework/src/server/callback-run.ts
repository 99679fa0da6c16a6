import type { CallContext } from '../context/call-context.js';
import { MillraceError } from '../errors.js';
import type { CallbackCall, CallbackHandler } from '../service/handler.js';
import type { StatusError } from '../status/status-error.js';
import { Delivery, type DeliveryHost } from '../stream/delivery.js';
import { Outbound } from '../stream/outbound.js';
import type { CallPort } from '../stream/port.js';
import { CallWriter, type WriterHost } from '../stream/writer.js';
import type { Route } from './route.js';

/** How a call ends; the dispatcher does it. */
export interface CallEnder {
  /** Ends the call with status OK. */
  succeed(call: CallContext<Route>): void;
  /** Ends the call with the status of an error; returns what its peer gets to see. */
  fail(call: CallContext<Route>, error: unknown): StatusError;
  /** The handler of a cancelled call has settled. */
  release(call: CallContext<Route>): void;
  /** A callback that has no way of its own to report threw. */
  complain(call: CallContext<Route>, error: unknown, what: string): void;
}

/** One call of a handler in callback form: its delivery, its writer and its end. */
export class CallbackRun implements DeliveryHost, WriterHost {
  readonly #ender: CallEnder;
  readonly #port: CallPort;
  readonly #call: CallContext<Route>;
  readonly #handler: CallbackHandler<unknown, unknown>;
  readonly #writer: CallWriter<unknown>;
  readonly #pauses: boolean;
  #callbacks: CallbackCall<unknown> = {};
  #delivery: Delivery<unknown> | undefined;
  #closed = false;

  constructor(
    ender: CallEnder,
    port: CallPort,
    call: CallContext<Route>,
    handler: CallbackHandler<unknown, unknown>,
  ) {
    this.#ender = ender;
    this.#port = port;
    this.#call = call;
    this.#handler = handler;
    this.#pauses = handler.pauseInbound !== false;
    const outbound = new Outbound<unknown>(
      port,
      call.reference,
      call.method.output,
      call.deadlineGiven?.waits,
    );
    call.outbound = outbound;
    call.onCancel = (error) => this.#cancelled(error);
    call.onWritable = () => {
      this.#writer.isWritable = true;
      this.#delivery?.resume();
    };
    this.#writer = new CallWriter(outbound, this, port.streamMark);
  }

  /** Opens the handler, in the async context of the call. False: that has failed. */
  open(): boolean {
    const call = this.#call;
    try {
      const callbacks = this.#handler.open(call, this.#writer) as CallbackCall<unknown> | undefined;
      if (callbacks !== undefined && 'then' in callbacks) {
        throw new MillraceError(
          'MILLRACE_HANDLER_RESULT',
          `open() of ${call.method.path} returned a promise, not its callbacks`,
        );
      }
      this.#callbacks = callbacks ?? {};
    } catch (error) {
      this.failed(error);
      return false;
    }
    // open() may have ended the call already.
    if (call.ended) return false;
    this.#delivery = new Delivery(
      this.#port,
      call.reference,
      call.method.input,
      this.#callbacks,
      this,
      call,
      call.requestCompressed,
    );
    call.inbound = this.#delivery;
    return true;
  }

  /** Delivers the request of a method that has only one. */
  only(request: unknown): void {
    this.#delivery?.only(request);
  }

  // --- what delivery and writer ask and say ---

  get paused(): boolean {
    return this.#pauses && !this.#writer.isWritable;
  }

  get gone(): boolean {
    return this.#call.cancelled !== undefined;
  }

  get ended(): boolean {
    return this.#call.ended;
  }

  end(messages: number): void {
    const { method } = this.#call;
    if (!method.streamsReplies && messages !== 1) {
      throw new MillraceError(
        'MILLRACE_REPLY_COUNT',
        `${method.path} was ended after ${messages} messages`,
      );
    }
    this.#delivery?.leave();
    this.#ender.succeed(this.#call);
    this.#close(undefined);
  }

  fail(error: unknown): void {
    this.#delivery?.leave();
    this.#close(this.#ender.fail(this.#call, error));
  }

  failed(error: unknown): void {
    if (this.gone || this.ended) {
      // Also the rejection of a callback that was cancelled.
      if (error !== this.#call.cancelled) this.#ender.complain(this.#call, error, 'a callback');
      return;
    }
    this.fail(error);
  }

  /** The peer has ended, and the handler has no `end` of its own. */
  finished(): void {
    if (this.gone || this.ended) return;
    try {
      this.#writer.end();
    } catch (error) {
      this.fail(error);
    }
  }

  settled(): void {
    if (this.gone) this.#ender.release(this.#call);
  }

  #cancelled(error: StatusError): void {
    this.#close(error);
    if (this.#delivery?.busy !== true) this.#ender.release(this.#call);
  }

  #close(cause: StatusError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    const callbacks = this.#callbacks;
    if (callbacks.closed === undefined) return;
    try {
      this.#call.runInAsyncScope(callbacks.closed, callbacks, cause);
    } catch (error) {
      this.#ender.complain(this.#call, error, 'closed()');
    }
  }
}
