import { MethodCode } from '../bridge/engine.js';
import type { MessageType } from '../codec/message-type.js';
import type { Context, MethodInfo } from '../context/context.js';
import { compose } from '../interceptors/compose.js';
import type { Interceptor } from '../interceptors/interceptor.js';
import type { MethodKind } from '../service/descriptor.js';
import type { CallbackHandler } from '../service/handler.js';
import type { BoundMethod, HandlerFunction } from '../service/method.js';
import type { Service } from '../service/service.js';
import { callbackStream } from '../stream/callback-stream.js';
import {
  validateMessages,
  validateRequest,
  validateRequests,
  validateStreamedRequest,
} from '../validation/validate.js';

/** A method as the dispatcher runs it: schema and interceptors are part of the handler. */
export class Route implements MethodInfo {
  readonly service: string;
  readonly name: string;
  readonly path: string;
  readonly kind: MethodKind;
  readonly code: MethodCode;
  // biome-ignore lint/suspicious/noExplicitAny: the routes of a server mix message types
  readonly input: MessageType<any, any>;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly output: MessageType<any, any>;
  readonly streamsRequests: boolean;
  readonly streamsReplies: boolean;
  /** The handler as a function; unused where there is a callback. */
  readonly run: HandlerFunction;
  readonly callback: CallbackHandler<unknown, unknown> | undefined;

  constructor(method: BoundMethod, interceptors: readonly Interceptor[]) {
    const { descriptor } = method;
    this.service = method.service;
    this.name = descriptor.name;
    this.path = descriptor.path;
    this.kind = descriptor.kind;
    this.code = MethodCode[descriptor.kind];
    this.input = descriptor.input;
    this.output = descriptor.output;
    this.streamsRequests = this.kind === 'client-streaming' || this.kind === 'bidi';
    this.streamsReplies = this.kind === 'server-streaming' || this.kind === 'bidi';
    if (method.form.kind === 'function') {
      this.run = this.#intercepted(this.#validated(method, method.form.call), interceptors);
      return;
    }
    const { handler } = method.form;
    const callback =
      method.schema === undefined ? handler : validateMessages(method.schema, handler);
    if (interceptors.length === 0) {
      this.callback = callback;
      this.run = unused;
    } else {
      this.run = this.#intercepted(this.#streamed(callback), interceptors);
    }
  }

  #validated(method: BoundMethod, handler: HandlerFunction): HandlerFunction {
    const { schema } = method;
    if (schema === undefined) return handler;
    if (this.streamsRequests) return validateRequests(schema, handler);
    return this.streamsReplies
      ? validateStreamedRequest(schema, handler)
      : validateRequest(schema, handler);
  }

  #intercepted(handler: HandlerFunction, interceptors: readonly Interceptor[]): HandlerFunction {
    if (interceptors.length === 0) return handler;
    const chain = compose(interceptors, async (call) => handler(call.input, call.ctx));
    return (input, ctx) => chain({ method: this, ctx: ctx as Context, input });
  }

  #streamed(callback: CallbackHandler<unknown, unknown>): HandlerFunction {
    return (input, ctx) => {
      const requests = this.streamsRequests ? (input as AsyncIterable<unknown>) : only(input);
      const replies = callbackStream(callback, requests, ctx as Context);
      return this.streamsReplies ? replies : first(replies);
    };
  }
}

/** The routes of a server's methods, in the order of their ids. */
export function routesOf(
  services: readonly Service[],
  interceptors: readonly Interceptor[],
): Route[] {
  return services.flatMap((service) =>
    service.methods.map((method) => new Route(method, [...interceptors, ...service.interceptors])),
  );
}

async function* only(message: unknown): AsyncGenerator<unknown> {
  yield message;
}

async function first(replies: AsyncIterable<unknown>): Promise<unknown> {
  let reply: unknown;
  for await (const message of replies) reply = message;
  return reply;
}

function unused(): never {
  throw new Error('a callback handler has no function');
}
