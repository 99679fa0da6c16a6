import type { FileDescriptor } from '../codec/file.js';
import { MillraceError } from '../errors.js';
import { checkInterceptors } from '../interceptors/compose.js';
import type { Interceptor } from '../interceptors/interceptor.js';
import type { ServiceDescriptor } from './descriptor.js';
import type { Checked, Handlers, SchemaHandlers } from './handler.js';
import { type BoundMethod, bindMethod } from './method.js';

/** The mark of a Service, also of another copy of this package. */
const brand = Symbol.for('millrace.Service');

/** A service with its handlers, for `serve`. */
export interface Service {
  /** The full name: `millrace.echo.v1.Echo`. */
  readonly typeName: string;
  /** The .proto file that declares it; absent where a descriptor was written by hand. */
  readonly file: FileDescriptor | undefined;
  /** Its methods with their handlers, for the server. @internal */
  readonly methods: readonly BoundMethod[];
  /** Around each of its calls, the first outermost. */
  readonly interceptors: readonly Interceptor[];
}

/** What `service` takes beside the handlers. */
export interface ServiceOptions {
  /** Wrap every call of this service, the first outermost, inside those of the server. */
  readonly interceptors?: readonly Interceptor[];
}

/**
 * Joins a generated service descriptor with its handlers.
 *
 * Unary and client-streaming methods are functions that return a message or a promise of one;
 * server-streaming and bidi methods are async generators; any of them may be in callback form
 * (`{ open(ctx, writer) { … } }`), or `{ input: schema, handler }` with any Standard Schema.
 *
 * @throws MillraceError MILLRACE_HANDLER_MISSING, MILLRACE_HANDLER_INVALID, MILLRACE_METHOD_UNKNOWN,
 * MILLRACE_INTERCEPTOR_INVALID
 */
export function service<const S extends ServiceDescriptor, H extends Handlers<S>, V>(
  descriptor: S,
  handlers: H & SchemaHandlers<S, V> & Checked<S, H>,
  options: ServiceOptions = {},
): Service {
  const given = handlers as unknown as Record<string, unknown>;
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(descriptor.methods, key)) {
      throw new MillraceError(
        'MILLRACE_METHOD_UNKNOWN',
        `${descriptor.typeName} has no method "${key}"; it has ${Object.keys(descriptor.methods).join(', ')}`,
      );
    }
  }
  const interceptors = checkInterceptors(options.interceptors ?? []);
  const methods = Object.entries(descriptor.methods).map(([key, method]) =>
    bindMethod(descriptor.typeName, key, method, given, given[key]),
  );
  const { typeName, file } = descriptor;
  const created = { typeName, file, methods, interceptors };
  Object.defineProperty(created, brand, { value: true });
  return created;
}

/** Whether a value was made by `service`. */
export function isService(value: unknown): value is Service {
  return typeof value === 'object' && value !== null && brand in value;
}
