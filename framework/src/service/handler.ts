import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { Context } from '../context/context.js';
import type { StatusError } from '../status/status-error.js';
import type { Subscription } from '../topics/subscription.js';
import type { InputOf, MethodDescriptor, ReplyOf, ServiceDescriptor } from './descriptor.js';

/**
 * The messages that the peer streams in, to be read once with `for await`. Leaving the loop early
 * discards the rest. When the call is cancelled, reading throws the StatusError of the cancellation,
 * so that only the peer's regular end ends the loop.
 */
export interface Requests<M> extends AsyncIterableIterator<M, undefined, void> {
  /**
   * The next message, as soon as there is one; done at the peer's end. Rejects with the StatusError
   * of a cancellation, and with INVALID_ARGUMENT for a message that its schema refuses.
   */
  next(): Promise<IteratorResult<M, undefined>>;
  /** Discards what is still to come, as leaving the loop does. */
  return(): Promise<IteratorResult<M, undefined>>;
  /** As `return`, and rejects with the error. */
  throw(error?: unknown): Promise<IteratorResult<M, undefined>>;
  /** Itself. */
  [Symbol.asyncIterator](): this;
}

/** The reply side of the callback form. */
export interface MessageWriter<R> {
  /**
   * Sends a message. `false` means: sent, but the peer has more than 256 KiB (`streamUnsentBytes`)
   * to read, so await `writable()` before the next. A handler that writes on regardless gets
   * MILLRACE_WRITE_OVERRUN at twice that. After a cancellation messages are dropped: false.
   */
  write(message: R): boolean;
  /** Resolves once the writer is under its mark; rejects with the StatusError of a cancellation. */
  writable(): Promise<void>;
  /** Ends the call with status OK and `ctx.trailers`. */
  end(): void;
  /** Ends the call with another status; an error that is no StatusError becomes INTERNAL. */
  fail(error: unknown): void;
}

/** What `open` returns: the callbacks of one call. */
export interface CallbackCall<I> {
  /**
   * Called with each message. It is consumed, and the next delivered, when this returns or when the
   * promise that it returned settles; a rejection fails the call.
   */
  message?(request: I): void | Promise<void>;
  /** The peer has ended its stream. Without it, the call ends with status OK then. */
  end?(): void | Promise<void>;
  /**
   * The call is over: called once, with the StatusError of a cancellation or failure, or without
   * anything after a regular end.
   */
  closed?(cause: StatusError | undefined): void;
}

/** A handler in callback form: recognised by its `open`. */
export interface CallbackHandler<I, R> {
  /** Called when a call begins, before its first message; what it throws fails the call. */
  open(ctx: Context, writer: MessageWriter<R>): CallbackCall<I>;
  /** Delivery pauses while the writer is over its mark, unless this is `false`. */
  readonly pauseInbound?: boolean;
}

/** The form of a handler as a function, by the kind of its method. */
interface HandlerFunctions<I, R> {
  readonly unary: (request: I, ctx: Context) => R | Promise<R>;
  readonly 'client-streaming': (requests: Requests<I>, ctx: Context) => R | Promise<R>;
  readonly 'server-streaming': (request: I, ctx: Context) => Replies<R>;
  readonly bidi: (requests: Requests<I>, ctx: Context) => Replies<R>;
}

/** The stream of a handler's replies, or a subscription to topics, which native code sends. */
type Replies<R> = AsyncIterable<R> | Subscription<R> | Promise<Subscription<R>>;

/** A handler of a method: a function, or the callback form. */
export type Handler<M extends MethodDescriptor, I = InputOf<M>> =
  | HandlerFunctions<I, ReplyOf<M>>[M['kind']]
  | CallbackHandler<I, ReplyOf<M>>;

/**
 * The same with a return type that rejects nothing: parameters and literals are typed by it, and
 * {@link Checked} then says in one line what is wrong with the result. Without it the compiler would
 * say so in twelve.
 */
type Open<M extends MethodDescriptor, I> =
  | {
      readonly unary: (request: I, ctx: Context) => ReplyOf<M> | Promise<ReplyOf<M>> | Anything;
      readonly 'client-streaming': (
        requests: Requests<I>,
        ctx: Context,
      ) => ReplyOf<M> | Promise<ReplyOf<M>> | Anything;
      readonly 'server-streaming': (
        request: I,
        ctx: Context,
      ) => AsyncIterable<ReplyOf<M>> | Anything;
      readonly bidi: (requests: Requests<I>, ctx: Context) => AsyncIterable<ReplyOf<M>> | Anything;
    }[M['kind']]
  | CallbackHandler<I, ReplyOf<M>>;

// biome-ignore lint/complexity/noBannedTypes: every value, and yet no contextual type of its own
// biome-ignore lint/suspicious/noConfusingVoidType: a handler that returns nothing gets our message
type Anything = {} | null | undefined | void;

/** What `service` takes: a handler per method, or a schema with its handler. */
export type Handlers<S extends ServiceDescriptor> = {
  readonly [K in keyof S['methods']]:
    | Open<S['methods'][K], InputOf<S['methods'][K]>>
    | { readonly input: StandardSchemaV1; readonly handler: unknown };
};

/** Types the `handler` beside a schema by what the schema puts out. */
export type SchemaHandlers<S extends ServiceDescriptor, V> = {
  readonly [K in keyof V]:
    | {
        readonly input: V[K] & StandardSchemaV1;
        readonly handler: K extends keyof S['methods']
          ? Open<S['methods'][K], SchemaOutput<V[K]>>
          : never;
      }
    // biome-ignore lint/complexity/noBannedTypes: a method without a schema; Handlers types it
    | {};
};

type SchemaOutput<V> = V extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<V> : never;

/** `unknown` for each handler that fits its method, a sentence for each that does not. */
export type Checked<S extends ServiceDescriptor, H> = {
  readonly [K in keyof H]: K extends keyof S['methods']
    ? CheckedMethod<S['methods'][K], H[K]>
    : `${S['typeName']} has no method '${K & string}'`;
};

type CheckedMethod<M extends MethodDescriptor, H> = H extends (...args: never) => infer R
  ? CheckedResult<M, R>
  : H extends { readonly handler: (...args: never) => infer R }
    ? { readonly handler: CheckedResult<M, R> }
    : unknown;

type CheckedResult<M extends MethodDescriptor, R> = [R] extends [never]
  ? unknown
  : M['kind'] extends 'unary' | 'client-streaming'
    ? R extends AsyncIterable<unknown>
      ? `${M['name']} is ${M['kind']}: return one message, do not yield`
      : CheckedReply<M['name'], Awaited<R>, ReplyOf<M>>
    : Awaited<R> extends Subscription<infer Y>
      ? CheckedReply<M['name'], Y, ReplyOf<M>>
      : R extends AsyncIterable<infer Y>
        ? CheckedReply<M['name'], Y | Subscribed<R>, ReplyOf<M>>
        : `${M['name']} is ${M['kind']}: make it an async generator (async *) and yield its messages`;

/** The events of the subscription with which a generator goes on when it returns. */
type Subscribed<R> = R extends AsyncGenerator<unknown, infer T, never> ? EventOf<T> : never;

type EventOf<T> = 0 extends T & 1 ? never : T extends Subscription<infer Y> ? Y : never;

type CheckedReply<Name extends string, Given, Allowed> = [Given] extends [never]
  ? unknown
  : [Unknown<Given, Allowed>] extends [never]
    ? [Given] extends [Allowed]
      ? unknown
      : [Given] extends [object]
        ? `${Name}: field '${Mistyped<Given, Allowed> & string}' of the reply has the wrong type`
        : `${Name}: the reply is no message`
    : `${Name}: the reply has no field '${Unknown<Given, Allowed> & string}'`;

type KeysOfUnion<T> = T extends unknown ? keyof T : never;

/** The fields of a reply that its message does not have. Arrays and functions are not looked into. */
type Unknown<Given, Allowed> = Given extends readonly unknown[]
  ? never
  : Given extends object
    ? Exclude<keyof Given, KeysOfUnion<Allowed>>
    : never;

type Mistyped<Given, Allowed> = Given extends unknown
  ? {
      [K in keyof Given]: K extends keyof Allowed
        ? Given[K] extends Allowed[K]
          ? never
          : K
        : never;
    }[keyof Given]
  : never;
