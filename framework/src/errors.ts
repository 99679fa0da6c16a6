/**
 * Every way to misuse Millrace, with what to do about it. The codes are API; the texts are for
 * people and may change. Errors of the native module (a port in use, no driver) carry codes and
 * remedies of their own.
 */
const table = {
  MILLRACE_OPTION_INVALID: {
    message: 'an option has an invalid value',
    remedy: 'Give a value of the documented type and range.',
  },
  MILLRACE_LIMITS_CONFLICT: {
    message: 'two limits cannot work together',
    remedy: 'Raise the one or lower the other, as the message says.',
  },
  MILLRACE_THREADS_NEED_MODULE: {
    message: 'threads > 1 needs services that every thread can load for itself',
    remedy:
      "Export the services from a module and give its address: services: new URL('./services.js', import.meta.url).",
  },
  MILLRACE_SERVICES_MODULE: {
    message: 'the services module exports no service',
    remedy: 'Export what service(…) returned, alone or in an array.',
  },
  MILLRACE_SERVICE_INVALID: {
    message: 'this is no service',
    remedy: 'Pass what service(Descriptor, { … }) returned.',
  },
  MILLRACE_SERVICE_DUPLICATE: {
    message: 'two services have the same name',
    remedy: 'Serve each service once, or rename one in its .proto file.',
  },
  MILLRACE_METHOD_UNKNOWN: {
    message: 'a handler has no method of that name',
    remedy: 'Name handlers as the generated descriptor does, in lowerCamelCase.',
  },
  MILLRACE_HANDLER_MISSING: {
    message: 'a method has no handler',
    remedy:
      'Write a handler for every method; throw StatusError(Status.UNIMPLEMENTED) if it is to come.',
  },
  MILLRACE_HANDLER_INVALID: {
    message: 'a handler has the wrong form',
    remedy: 'Give a function, an object with open(), or { input: schema, handler }.',
  },
  MILLRACE_HANDLER_RESULT: {
    message: 'a handler returned something of the wrong kind',
    remedy:
      'Return one message from unary and client-streaming methods; make the others async generators, or return a subscription that was not returned before.',
  },
  MILLRACE_INTERCEPTOR_INVALID: {
    message: 'an interceptor is not a function',
    remedy: 'Pass functions of the form async (call, next) => next(call).',
  },
  MILLRACE_INTERCEPTOR_NEXT_TWICE: {
    message: 'an interceptor called next() more than once',
    remedy: 'A stream can be read once only: call next() at most once.',
  },
  MILLRACE_METADATA_INVALID: {
    message: 'metadata has an illegal name or value',
    remedy:
      'Names are made of a-z, 0-9, "_", "-" and ".", without those of HTTP and gRPC themselves; values are printable ASCII, or bytes where the name ends in "-bin".',
  },
  MILLRACE_METADATA_GONE: {
    message: 'the request metadata is gone',
    remedy: 'Read ctx.metadata while the call runs; it is kept from the first read on.',
  },
  MILLRACE_HEADERS_SENT: {
    message: 'the response headers have been sent',
    remedy: 'Call ctx.sendHeaders() once, before the first message.',
  },
  MILLRACE_WRITE_OVERRUN: {
    message: 'the peer reads slower than this side writes',
    remedy: 'When write() returns false, await writable() before the next write.',
  },
  MILLRACE_WRITE_AFTER_END: {
    message: 'the stream has ended',
    remedy: 'Do not write after end() or fail().',
  },
  MILLRACE_WRITE_NESTED: {
    message: 'a getter of a request writes to the stream that the request is for, or ends it',
    remedy: 'Do so before or after the message is written.',
  },
  MILLRACE_REPLY_COUNT: {
    message: 'this method replies with exactly one message',
    remedy: 'Call writer.write() once before writer.end().',
  },
  MILLRACE_MESSAGE_TOO_LARGE: {
    message: 'a message is larger than sendMessageBytes allows',
    remedy: 'Split it over a stream, or raise limits.sendMessageBytes here and at the peer.',
  },
  MILLRACE_TARGET_INVALID: {
    message: 'a target cannot be read',
    remedy:
      'Write host:port, dns:host:port, ipv4:address:port, ipv6:[address]:port, unix:/path or unix-abstract:name.',
  },
  MILLRACE_SERVICE_CONFIG_INVALID: {
    message: 'a service config is not valid',
    remedy: 'Write it as gRPC documents it: doc/service_config.md and gRFC A6 of the gRPC project.',
  },
  MILLRACE_CONNECTION_CLOSED: {
    message: 'the connection is closed',
    remedy: 'Call connection() or connect() again for a new one.',
  },
  MILLRACE_SERVER_CLOSED: {
    message: 'the server is closed',
    remedy: 'Call serve() again for a new one.',
  },
  MILLRACE_TLS_FILE: {
    message: 'a certificate or key cannot be read',
    remedy: 'Give a path that this process may read, or the PEM text itself.',
  },
  MILLRACE_TLS_OFF: {
    message: 'the server was started without TLS',
    remedy: 'Give tls to serve(); only then is there something to reload.',
  },
  MILLRACE_TOPICS_CONFLICT: {
    message: 'topics of that name exist with other options',
    remedy: 'Give the same options wherever the name is used, or another name.',
  },
  MILLRACE_TOPICS_CLOSED: {
    message: 'the topics are closed',
    remedy: 'Make them anew by topics(), or close them later.',
  },
  MILLRACE_WORKER_FAILED: {
    message: 'a server thread could not start',
    remedy: 'See the cause; the services module runs once in each thread.',
  },
} as const;

/** A code of the table of misuse errors. */
export type MillraceErrorCode = keyof typeof table;

/** A misuse of Millrace: `code` says which, `remedy` what to do. */
export class MillraceError extends Error {
  /** Stable: what programs may compare. */
  readonly code: MillraceErrorCode;
  /** What to do about it, for people; the message ends with it. */
  readonly remedy: string;

  /** @param detail what exactly is wrong; the table's message when left out. */
  constructor(code: MillraceErrorCode, detail?: string, options?: ErrorOptions) {
    const { message, remedy } = table[code];
    super(`${detail ?? message}. ${remedy} [${code}]`, options);
    this.code = code;
    this.remedy = remedy;
  }
}

Object.defineProperty(MillraceError.prototype, 'name', { value: 'MillraceError' });

/** The table as data, for the documentation. */
export const errorTable: Readonly<Record<MillraceErrorCode, { message: string; remedy: string }>> =
  table;
