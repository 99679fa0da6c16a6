import type { Context, MethodInfo } from '../context/context.js';

/** A call on its way through the interceptors. */
export interface InterceptedCall {
  /** What was called; the same as `ctx.method`. */
  readonly method: MethodInfo;
  /** The context that the handler gets. */
  readonly ctx: Context;
  /**
   * The request message of unary and server-streaming methods; an AsyncIterable of messages for the
   * other two. Pass `{ ...call, input }` to `next` to replace it.
   */
  readonly input: unknown;
}

/**
 * Calls the next interceptor or the handler: resolves to the reply message of unary and
 * client-streaming methods, to an AsyncIterable of replies for the other two.
 */
export type Next = (call: InterceptedCall) => Promise<unknown>;

/**
 * Wraps calls of all four kinds. What it throws ends the call, as if the handler had thrown it.
 *
 * ```ts
 * const timing: Interceptor = async (call, next) => {
 *   const start = performance.now();
 *   const output = await next(call);
 *   call.ctx.logger.info({ ms: performance.now() - start });
 *   return output;
 * };
 * ```
 */
export type Interceptor = (call: InterceptedCall, next: Next) => Promise<unknown>;
