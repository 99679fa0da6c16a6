import type { MethodInfo } from '../context/context.js';
import type { Metadata } from '../context/metadata.js';
import { MillraceError } from '../errors.js';

/** What a client's interceptor knows of a call, and may change before it is made. */
export interface ClientCallContext {
  /** What is called. */
  readonly method: MethodInfo;
  /** As it was given to `connect` or `connection`. */
  readonly target: string;
  /** What is sent with the request; may be added to before `next`. */
  readonly metadata: Metadata;
  /** When the call has to be over, of its own or by its parent; `undefined` for never. */
  readonly deadline: Date | undefined;
  /** Aborts when the caller's signal, or the parent call, does. */
  readonly signal: AbortSignal;
  /** The response headers' metadata; resolves, empty if need be, at the end of the call at the latest. */
  readonly headers: Promise<Metadata>;
  /** The trailers' metadata; resolves at the end of the call. */
  readonly trailers: Promise<Metadata>;
}

/** A call on its way through a client's interceptors. */
export interface ClientInterceptedCall {
  /** What is called; the same as `ctx.method`. */
  readonly method: MethodInfo;
  /** What can be known and changed of the call. */
  readonly ctx: ClientCallContext;
  /**
   * The request message of unary and server-streaming methods; an AsyncIterable of messages for the
   * other two. Pass `{ ...call, input }` to `next` to replace it.
   */
  readonly input: unknown;
}

/**
 * Calls the next interceptor or the server: resolves to the response message of unary and
 * client-streaming methods, to an AsyncIterable of responses for the other two.
 */
export type ClientNext = (call: ClientInterceptedCall) => Promise<unknown>;

/**
 * Wraps calls of all four kinds, as a server's interceptors do. What it throws is the outcome of the
 * call. With a single request, `next` may be called again: for a retry of its own, say.
 */
export type ClientInterceptor = (call: ClientInterceptedCall, next: ClientNext) => Promise<unknown>;

/** @throws MillraceError MILLRACE_INTERCEPTOR_INVALID */
export function checkClientInterceptors(given: readonly unknown[]): readonly ClientInterceptor[] {
  for (const [index, interceptor] of given.entries()) {
    if (typeof interceptor !== 'function') {
      throw new MillraceError(
        'MILLRACE_INTERCEPTOR_INVALID',
        `interceptors[${index}] is ${interceptor === null ? 'null' : typeof interceptor}, not a function`,
      );
    }
  }
  return given as readonly ClientInterceptor[];
}

/** Interceptors around what makes the call, the first outermost. */
export function composeClient(
  interceptors: readonly ClientInterceptor[],
  make: ClientNext,
): ClientNext {
  return interceptors.reduceRight<ClientNext>((next, one) => (call) => one(call, next), make);
}
