import type { MessageType } from '../codec/message-type.js';
import { checkEncoding, type Encoding } from '../context/compression.js';
import type { MethodDescriptor, ServiceDescriptor } from '../service/descriptor.js';
import { type CallOptions, type CheckedCallOptions, checkCallOptions } from './call-options.js';
import { asClientConnection, ClientConnection, type Connection } from './connection.js';
import { Intercepted } from './intercepted.js';
import { type ClientInterceptor, checkClientInterceptors } from './interceptor.js';
import { ClientMethod } from './method.js';
import type { ConnectionOptions } from './options.js';
import { pump } from './request-stream.js';
import { SingleCall, type UnaryCall, UploadCall } from './single-call.js';
import { type DuplexCall, type ResponseStream, StreamCall } from './stream-call.js';

/** What `connect` takes beside service and a connection that exists. */
export interface ClientOptions {
  /** Around every call of this client, inside those of the connection. */
  readonly interceptors?: readonly ClientInterceptor[] | undefined;
  /** How requests are compressed, unless their call says otherwise. Default: as the connection says. */
  readonly compression?: Encoding | undefined;
}

/** The message that a method is given. */
// biome-ignore lint/suspicious/noExplicitAny: the position that is not asked for
type Given<T> = T extends MessageType<any, infer I> ? I : never;
/** The message that a method responds with. */
// biome-ignore lint/suspicious/noExplicitAny: as above
type Received<T> = T extends MessageType<infer M, any> ? M : never;
/** A stream of requests. */
type Source<I> = AsyncIterable<I> | Iterable<I>;

/** The form of a client's method, by its kind. */
interface ClientFunctions<I, R> {
  readonly unary: (request: I, options?: CallOptions) => UnaryCall<R>;
  readonly 'server-streaming': (request: I, options?: CallOptions) => ResponseStream<R>;
  readonly 'client-streaming': {
    (requests: Source<I>, options?: CallOptions): UnaryCall<R>;
    (requests?: undefined, options?: CallOptions): UploadCall<I, R>;
  };
  readonly bidi: {
    (requests: Source<I>, options?: CallOptions): ResponseStream<R>;
    (requests?: undefined, options?: CallOptions): DuplexCall<I, R>;
  };
}

/** A method of a client. */
export type ClientMethodOf<M extends MethodDescriptor> = ClientFunctions<
  Given<M['input']>,
  Received<M['output']>
>[M['kind']];

/**
 * A client: the methods of its service under their generated names, and nothing else. A method `then`
 * is called `then$`, since `await` would call anything of that name.
 */
export type Client<S extends ServiceDescriptor> = {
  readonly [K in keyof S['methods'] as K extends 'then' ? 'then$' : K]: ClientMethodOf<
    S['methods'][K]
  >;
} & AsyncDisposable;

/**
 * A client of a service.
 *
 * ```ts
 * await using client = connect(Echo, 'localhost:50051');
 * const reply = await client.say({ text: 'hello' }, { timeoutMs: 1000 });
 * for await (const { text } of client.chat([{ text: 'one' }, { text: 'two' }])) console.log(text);
 * ```
 *
 * With a target it has a connection of its own, which `await using` or `client[Symbol.asyncDispose]()`
 * closes; one that `connection` returned is shared, and stays open.
 *
 * @throws as `connection`
 */
export function connect<S extends ServiceDescriptor>(
  service: S,
  target: string,
  options?: ConnectionOptions,
): Client<S>;
export function connect<S extends ServiceDescriptor>(
  service: S,
  connection: Connection,
  options?: ClientOptions,
): Client<S>;
export function connect<S extends ServiceDescriptor>(
  service: S,
  given: string | Connection,
  options: ConnectionOptions & ClientOptions = {},
): Client<S> {
  const owned = typeof given === 'string' ? new ClientConnection(given, options) : undefined;
  const connection = owned ?? asClientConnection(given);
  const interceptors =
    owned === undefined
      ? [...connection.options.interceptors, ...checkClientInterceptors(options.interceptors ?? [])]
      : connection.options.interceptors;
  const encoding = checkEncoding('compression', options.compression ?? connection.options.encoding);
  // No prototype: whatever a service calls its methods, nothing else is there.
  const client = Object.create(null) as Record<string | symbol, unknown>;
  for (const [key, descriptor] of Object.entries(service.methods)) {
    const method = new ClientMethod(
      service.typeName,
      descriptor,
      connection.channel.config,
      encoding,
    );
    Object.defineProperty(client, key === 'then' ? 'then$' : key, {
      value: functionFor(connection, method, interceptors),
      enumerable: true,
    });
  }
  Object.defineProperty(client, Symbol.asyncDispose, {
    value: async () => owned?.close(),
  });
  return client as Client<S>;
}

function functionFor(
  connection: ClientConnection,
  method: ClientMethod,
  interceptors: readonly ClientInterceptor[],
): unknown {
  const { channel } = connection;
  if (interceptors.length > 0) {
    const intercepted = new Intercepted(channel, method, interceptors);
    return (input: unknown, options?: CallOptions) => intercepted.call(input, options);
  }
  switch (method.kind) {
    case 'unary':
      return (request: unknown, options?: CallOptions) => {
        const call = new SingleCall(channel, method, request, false, checked(options));
        call.submit();
        return call.promise;
      };
    case 'server-streaming':
      return (request: unknown, options?: CallOptions) => {
        const call = new StreamCall(channel, method, request, false, checked(options));
        call.submit();
        return call;
      };
    case 'client-streaming':
      return (requests: Source<unknown> | undefined, options?: CallOptions) => {
        const call = new SingleCall(channel, method, undefined, true, checked(options));
        call.submit();
        if (requests === undefined) return new UploadCall(call);
        void pump(requests, call.requests!, call);
        return call.promise;
      };
    case 'bidi':
      return (requests: Source<unknown> | undefined, options?: CallOptions) => {
        const call = new StreamCall(channel, method, undefined, true, checked(options));
        call.submit();
        if (requests !== undefined) void pump(requests, call.requests!, call);
        return call;
      };
  }
}

function checked(options: CallOptions | undefined): CheckedCallOptions | undefined {
  return options === undefined ? undefined : checkCallOptions(options);
}
