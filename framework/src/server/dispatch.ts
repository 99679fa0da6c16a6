import type { Logger } from 'pino';
import type { Engine, EngineHandler, Notice } from '../bridge/engine.js';
import {
  CAUSE_AGE,
  CAUSE_CONNECTION_LOST,
  CAUSE_DEADLINE,
  CAUSE_DRAIN,
  CAUSE_MESSAGE,
  CAUSE_METADATA,
  CAUSE_PROTOCOL,
  CAUSE_RESET,
  CAUSE_SLOW,
  CAUSE_STALLED,
  FLAG_COMPRESSED,
  FLAG_END,
  FLAG_HAS_DEADLINE,
  FLAG_HAS_METADATA,
} from '../bridge/layout.js';
import { CallContext, type CallEnvironment } from '../context/call-context.js';
import type { Encoding } from '../context/compression.js';
import { Deadline } from '../context/deadline.js';
import { Metadata } from '../context/metadata.js';
import { MillraceError } from '../errors.js';
import { encodeStatusDetails } from '../status/details.js';
import { isStatus, Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';
import { Inbound, undecodable } from '../stream/inbound.js';
import { Outbound } from '../stream/outbound.js';
import { TopicSubscription } from '../topics/subscription.js';
import { topicsError } from '../topics/topics.js';
import { CallbackRun, type CallEnder } from './callback-run.js';
import type { Route } from './route.js';

/** Characters of a message whose status cannot be sent whole; what peers take is less as a rule. */
const MESSAGE_LEFT = 4096;

/** What this side counts; the engine counts the rest. */
export interface DispatchStats {
  /** Handlers that run, cancelled ones included. */
  readonly handlersRunning: number;
  /** Handlers that ended, however. */
  readonly handlersFinished: number;
  /** Exceptions that were no StatusError. */
  readonly handlerErrors: number;
  /** Handlers that outlived their cancellation by more than the grace. */
  readonly handlersOverdue: number;
}

/** Runs the handlers of one thread: from records to calls, from results to operations. */
export class Dispatcher implements EngineHandler, CallEnvironment, CallEnder {
  readonly logger: Logger;
  readonly replyEncoding: Encoding;
  readonly #routes: readonly Route[];
  readonly #graceMs: number;
  readonly #onNotice: (notice: Notice) => void;
  /** By index; a stale reference does not match the call that is there now. */
  #calls: (CallContext<Route> | undefined)[] = [];
  #running = 0;
  #finished = 0;
  #errors = 0;
  #overdue = 0;
  /** Cancelled calls whose handlers have not settled, oldest first. */
  readonly #cancelled = new Set<CallContext<Route>>();
  #graceTimer: NodeJS.Timeout | undefined;
  /** Calls that native code sends events on. */
  readonly #subscribed = new Map<CallContext<Route>, TopicSubscription<unknown>>();
  /** With what they end from the beginning, once a drain has begun. */
  #subscriptionsEnd: StatusError | undefined;
  port!: Engine;
  closed = false;

  constructor(
    routes: readonly Route[],
    logger: Logger,
    graceMs: number,
    onNotice: (notice: Notice) => void,
    replyEncoding: Encoding = 'identity',
  ) {
    this.#routes = routes;
    this.logger = logger;
    this.#graceMs = graceMs;
    this.#onNotice = onNotice;
    this.replyEncoding = replyEncoding;
  }

  /** Once, before the first batch. */
  attach(engine: Engine): void {
    this.port = engine;
    this.#calls = new Array(engine.callCapacity).fill(undefined);
  }

  get running(): number {
    return this.#running;
  }

  get stats(): DispatchStats {
    return {
      handlersRunning: this.#running,
      handlersFinished: this.#finished,
      handlerErrors: this.#errors,
      handlersOverdue: this.#overdue,
    };
  }

  /** The paths of the calls whose handlers run, for a last message. */
  unfinished(): string[] {
    return this.#calls.flatMap((call) => (call === undefined ? [] : [call.method.path]));
  }

  /**
   * Ends all calls with UNAVAILABLE; their handlers are cancelled. Returns how many there were, without
   * those that their clients had left and whose handlers had not come to their end.
   */
  abortAll(message: string): number {
    let count = 0;
    for (const call of this.#calls) {
      if (call === undefined || call.ended) continue;
      const error = new StatusError(Status.UNAVAILABLE, message);
      if (call.cancelled === undefined) {
        count++;
        this.port.sendStatus(call.reference, error.code, message, undefined);
        call.ended = true;
        call.cancel(error);
      } else {
        this.port.sayRelease(call.reference);
        call.ended = true;
      }
    }
    return count;
  }

  /** Ends the calls that native code sends events on, also in future: they would not end by themselves. */
  endSubscriptions(error: StatusError): void {
    this.#subscriptionsEnd = error;
    for (const subscription of [...this.#subscribed.values()]) subscription.end(error);
  }

  /** The engine's memory is gone. */
  close(): void {
    this.closed = true;
    clearTimeout(this.#graceTimer);
  }

  // --- records ---

  request(reference: number, method: number, flags: number, left: number, slot: number): void {
    const route = this.#routes[method]!;
    const call = this.#begin(route, reference, flags, left);
    let request: unknown;
    try {
      request = this.port.decode(route.input, slot);
    } catch (error) {
      this.fail(call, undecodable(error));
      return;
    }
    if (route.callback !== undefined) {
      const run = new CallbackRun(this, this.port, call, route.callback);
      if (call.runInAsyncScope(run.open, run)) run.only(request);
      return;
    }
    if (route.streamsReplies) this.#giveOutbound(call);
    call.runInAsyncScope(this.#start, this, call, request);
  }

  call(reference: number, method: number, flags: number, left: number): void {
    const route = this.#routes[method]!;
    const call = this.#begin(route, reference, flags, left);
    if (route.callback !== undefined) {
      const run = new CallbackRun(this, this.port, call, route.callback);
      this.port.sayReading(reference);
      if (call.runInAsyncScope(run.open, run) && (flags & FLAG_END) !== 0) call.inbound?.end();
      return;
    }
    const inbound = new Inbound<unknown>(
      this.port,
      reference,
      route.input,
      call.deadlineGiven?.waits,
      call.requestCompressed,
    );
    call.inbound = inbound;
    if ((flags & FLAG_END) !== 0) inbound.end();
    if (route.streamsReplies) this.#giveOutbound(call);
    call.runInAsyncScope(this.#start, this, call, inbound);
  }

  message(reference: number, slot: number, last: boolean): void {
    const inbound = this.#find(reference)?.inbound;
    if (inbound === undefined) return;
    inbound.message(slot);
    if (last) inbound.end();
  }

  end(reference: number): void {
    this.#find(reference)?.inbound?.end();
  }

  cancel(reference: number, cause: number, code: number): void {
    const call = this.#find(reference);
    if (call === undefined || call.cancelled !== undefined) return;
    const error = cancellation(call, cause, code);
    this.#noteCancellation(call, error);
    if (cause === CAUSE_DEADLINE) {
      this.port.sayReason(call.reference, error.message, call.trailersGiven);
    }
    call.cancel(error);
    if (this.#find(reference) !== call) return;
    this.#cancelled.add(call);
    this.#armGrace();
  }

  /** Debug only: who may cancel calls must not be able to flood a log. */
  #noteCancellation(call: CallContext<Route>, error: StatusError): void {
    if (!this.logger.isLevelEnabled('debug')) return;
    call.logger.debug({ peer: call.peer.address, code: error.codeName }, error.message);
  }

  writable(reference: number): void {
    const call = this.#find(reference);
    if (call === undefined) return;
    call.outbound?.resume();
    call.onWritable?.();
  }

  notice(notice: Notice): void {
    this.#onNotice(notice);
  }

  // --- calls ---

  #begin(route: Route, reference: number, flags: number, left: number): CallContext<Route> {
    const call = new CallContext<Route>(
      this,
      route,
      reference,
      (flags & FLAG_HAS_METADATA) !== 0,
      (flags & FLAG_HAS_DEADLINE) !== 0 ? new Deadline(left) : undefined,
    );
    if ((flags & FLAG_COMPRESSED) !== 0) call.requestCompressed = true;
    this.#calls[reference & 0xffff] = call;
    this.#running++;
    return call;
  }

  #find(reference: number): CallContext<Route> | undefined {
    const call = this.#calls[reference & 0xffff];
    return call !== undefined && call.reference === reference ? call : undefined;
  }

  #giveOutbound(call: CallContext<Route>): void {
    call.outbound = new Outbound<unknown>(
      this.port,
      call.reference,
      call.method.output,
      call.deadlineGiven?.waits,
    );
  }

  /** Calls the handler; `input` is its message or its request stream. */
  #start(call: CallContext<Route>, input: unknown): void {
    const route = call.method;
    let result: unknown;
    try {
      result = route.run(input, call);
    } catch (error) {
      this.fail(call, error);
      return;
    }
    if (route.streamsReplies) void this.#drive(call, call.outbound!, result);
    else if (isThenable(result)) void this.#replyLater(call, result);
    else this.#reply(call, result);
  }

  async #replyLater(call: CallContext<Route>, promise: PromiseLike<unknown>): Promise<void> {
    let reply: unknown;
    try {
      reply = await promise;
    } catch (error) {
      this.fail(call, error);
      return;
    }
    this.#reply(call, reply);
  }

  #reply(call: CallContext<Route>, reply: unknown): void {
    if (call.cancelled !== undefined) {
      this.release(call);
      return;
    }
    const { port } = this;
    const { output, path } = call.method;
    const trailers = call.trailersGiven;
    try {
      if (typeof reply !== 'object' || reply === null) {
        throw new MillraceError(
          'MILLRACE_HANDLER_RESULT',
          `the handler of ${path} returned ${reply === null ? 'null' : typeof reply}, not a message`,
        );
      }
      if (trailers === undefined || trailers.size === 0) {
        port.sendReply(call.reference, output, reply);
      } else {
        port.sendMessage(call.reference, output, reply);
        port.sendStatus(call.reference, Status.OK, '', trailers);
      }
    } catch (error) {
      this.fail(call, error);
      return;
    }
    this.#over(call);
  }

  /** Pulls replies out of a generator, no faster than the peer takes them. Never rejects. */
  async #drive(call: CallContext<Route>, outbound: Outbound<unknown>, result: unknown) {
    let returning: Promise<unknown> | undefined;
    let leave: (() => void) | undefined;
    try {
      const replies = (isThenable(result) ? await result : result) as AsyncIterable<unknown>;
      if (replies instanceof TopicSubscription) {
        this.#subscribe(call, replies);
        return;
      }
      if (typeof replies?.[Symbol.asyncIterator] !== 'function') {
        throw new MillraceError(
          'MILLRACE_HANDLER_RESULT',
          `the handler of ${call.method.path} returned no AsyncIterable`,
        );
      }
      const iterator = replies[Symbol.asyncIterator]();
      leave = () => {
        returning ??= settle(iterator.return?.());
      };
      if (call.cancelled === undefined) call.onCancel = leave;
      else leave();
      for (;;) {
        const reply = await iterator.next();
        // Also when the call is over meanwhile: whoever waits for the end of the subscription hears of it.
        if (reply.done === true && reply.value instanceof TopicSubscription) {
          leave = undefined;
          this.#subscribe(call, reply.value);
          return;
        }
        if (call.cancelled !== undefined) break;
        if (reply.done === true) {
          leave = undefined;
          break;
        }
        while (outbound.isHeldUp) await outbound.writable();
        if (!outbound.write(reply.value)) await outbound.writable();
      }
    } catch (error) {
      leave?.();
      await this.#returned(call, returning);
      this.fail(call, error);
      return;
    }
    if (returning !== undefined) await this.#returned(call, returning);
    this.succeed(call);
  }

  /** Native code goes on with a call. @throws MillraceError, StatusError */
  #subscribe(call: CallContext<Route>, subscription: TopicSubscription<unknown>): void {
    const { output, path } = call.method;
    if (subscription.isTaken || subscription.typeName !== output.typeName) {
      const what = subscription.isTaken
        ? 'a subscription that another call has already'
        : `a subscription to events of ${subscription.typeName}, not ${output.typeName}`;
      throw new MillraceError('MILLRACE_HANDLER_RESULT', `the handler of ${path} returned ${what}`);
    }
    if (call.cancelled !== undefined) {
      subscription.over();
      this.release(call);
      return;
    }
    const end = (error: unknown) => {
      if (error === undefined) this.succeed(call);
      else this.fail(call, error);
    };
    const ended = subscription.begin({ end });
    this.#subscribed.set(call, subscription);
    call.onCancel = () => this.release(call);
    if (ended !== undefined) {
      end(ended.error);
      return;
    }
    try {
      this.port.subscribe(call.reference, subscription.port.native, subscription.wanted);
    } catch (error) {
      throw topicsError(error);
    }
    if (this.#subscriptionsEnd !== undefined) subscription.end(this.#subscriptionsEnd);
  }

  /** Awaits a generator's return(), whose error nobody else would see. */
  async #returned(call: CallContext<Route>, returning: Promise<unknown> | undefined) {
    try {
      await returning;
    } catch (error) {
      if (error !== call.cancelled) this.complain(call, error, 'the end of the generator');
    }
  }

  // --- ends ---

  succeed(call: CallContext<Route>): void {
    if (call.cancelled !== undefined) {
      this.release(call);
      return;
    }
    try {
      this.port.sendStatus(call.reference, Status.OK, '', call.trailersGiven);
    } catch (error) {
      this.fail(call, error);
      return;
    }
    this.#over(call);
  }

  fail(call: CallContext<Route>, error: unknown): StatusError {
    if (call.cancelled !== undefined) {
      // A handler that lets the cancellation through is doing what it should.
      if (error !== call.cancelled && !StatusError.is(error) && !isAbort(error, call.cancelled)) {
        this.complain(call, error, 'the handler, after its cancellation');
      }
      this.release(call);
      return call.cancelled;
    }
    const status = this.#visible(call, error);
    const { code, message } = status;
    try {
      this.port.sendStatus(call.reference, code, message, trailersOf(call, status));
    } catch (cause) {
      // More than the arena holds, which a peer may bring about, or details that are none.
      this.complain(call, cause, 'sending the whole status of the call');
      this.port.sendStatus(call.reference, code, message.slice(0, MESSAGE_LEFT), undefined);
    } finally {
      this.#over(call);
    }
    return status;
  }

  release(call: CallContext<Route>): void {
    if (!call.ended) this.port.sayRelease(call.reference);
    this.#over(call);
  }

  complain(call: CallContext<Route>, error: unknown, what: string): void {
    this.#errors++;
    call.logger.error({ err: error }, `${what} failed`);
  }

  /** What a peer may see of an error; the log has all of it. */
  #visible(call: CallContext<Route>, error: unknown): StatusError {
    if (StatusError.is(error)) {
      if (error.cause !== undefined) {
        call.logger.warn({ err: error, peer: call.peer.address }, error.message);
      }
      return error;
    }
    this.#errors++;
    call.logger.error({ err: error, peer: call.peer.address }, 'the handler failed');
    return new StatusError(Status.INTERNAL, `internal error (request ${call.requestId})`, {
      cause: error,
    });
  }

  /** The only place where a call leaves the table. */
  #over(call: CallContext<Route>): void {
    const index = call.reference & 0xffff;
    if (this.#calls[index] !== call) return;
    this.#calls[index] = undefined;
    call.ended = true;
    call.outbound?.close();
    if (call.cancelled !== undefined) this.#cancelled.delete(call);
    if (this.#subscribed.size > 0) {
      this.#subscribed.get(call)?.over();
      this.#subscribed.delete(call);
    }
    this.#running--;
    this.#finished++;
  }

  // --- grace ---

  #armGrace(): void {
    if (this.#graceTimer !== undefined || this.closed) return;
    for (const { cancelledAt } of this.#cancelled) {
      const left = Math.max(0, cancelledAt + this.#graceMs - performance.now());
      this.#graceTimer = setTimeout(() => this.#graceOver(), left).unref();
      return;
    }
  }

  #graceOver(): void {
    this.#graceTimer = undefined;
    const now = performance.now();
    for (const call of this.#cancelled) {
      // Timers may fire a little early.
      if (call.cancelledAt + this.#graceMs > now + 1) break;
      this.#cancelled.delete(call);
      this.#overdue++;
      call.logger.warn(
        { cause: call.cancelled?.message, code: call.cancelled?.codeName },
        `the handler of ${call.method.path} still runs ${Math.round(now - call.cancelledAt)} ms after its call was cancelled; watch ctx.signal`,
      );
    }
    this.#armGrace();
  }
}

function cancellation(call: CallContext<Route>, cause: number, code: number): StatusError {
  return new StatusError(isStatus(code) ? code : Status.CANCELLED, reasonOf(call, cause));
}

function reasonOf(call: CallContext<Route>, cause: number): string {
  switch (cause) {
    case CAUSE_RESET:
      return 'the client cancelled the call';
    case CAUSE_DEADLINE:
      return call.deadlineGiven?.report() ?? 'deadline exceeded';
    case CAUSE_CONNECTION_LOST:
      return 'the connection to the client was lost';
    case CAUSE_STALLED:
      return 'nobody read the request stream, or took the replies, while memory was full';
    case CAUSE_DRAIN:
      return 'the server is shutting down';
    case CAUSE_PROTOCOL:
      return 'the client broke the protocol';
    case CAUSE_MESSAGE:
      return 'a message was too large or not framed as gRPC asks';
    case CAUSE_SLOW:
      return 'the subscriber was too slow for its policy';
    case CAUSE_METADATA:
      return 'the response metadata is larger than the client takes';
    case CAUSE_AGE:
      return 'the connection reached its greatest age, and the grace for its last calls is over';
    default:
      return 'the call was cancelled';
  }
}

function trailersOf(call: CallContext<Route>, status: StatusError): Metadata | undefined {
  const { details } = status;
  const given = call.trailersGiven;
  if (details.length === 0 && status.metadata.size === 0) return given;
  const trailers = Metadata.received([...(given ?? []), ...status.metadata].flat());
  if (details.length > 0) {
    const bytes = encodeStatusDetails(status.code, status.message, details);
    trailers.set('grpc-status-details-bin', bytes);
  }
  return trailers;
}

/** What APIs of the platform throw when their signal aborts. */
function isAbort(error: unknown, reason: StatusError): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error.cause === reason);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

/** A promise of what may be none, observed, so that it never counts as unhandled. */
function settle(value: unknown): Promise<unknown> {
  const promise = Promise.resolve(value);
  promise.catch(() => {});
  return promise;
}
