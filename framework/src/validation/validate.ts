import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { CallbackHandler, Requests } from '../service/handler.js';
import type { HandlerFunction } from '../service/method.js';
import { badRequest } from '../status/details.js';
import { Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';

/** Faults that a status lists: a peer decides how many a request has. */
const VIOLATIONS_MAX = 100;

/**
 * A message as its schema puts it out. A failure is INVALID_ARGUMENT with the field paths as
 * `google.rpc.BadRequest`, of the first 100.
 */
export function validate(schema: StandardSchemaV1, message: unknown): unknown {
  const result = schema['~standard'].validate(message);
  return result instanceof Promise ? result.then(outputOf) : outputOf(result);
}

/** Puts a schema in front of a handler with one request message. */
export function validateRequest(
  schema: StandardSchemaV1,
  handler: HandlerFunction,
): HandlerFunction {
  return (request, ctx) => {
    const valid = validate(schema, request);
    return valid instanceof Promise
      ? valid.then((message) => handler(message, ctx))
      : handler(valid, ctx);
  };
}

/** The same where the handler's result is a stream, which an async schema has to come before. */
export function validateStreamedRequest(
  schema: StandardSchemaV1,
  handler: HandlerFunction,
): HandlerFunction {
  return (request, ctx) => {
    const valid = validate(schema, request);
    return valid instanceof Promise ? delegate(valid, handler, ctx) : handler(valid, ctx);
  };
}

/** Puts a schema in front of a handler with a request stream: it runs per message. */
export function validateRequests(
  schema: StandardSchemaV1,
  handler: HandlerFunction,
): HandlerFunction {
  return (requests, ctx) =>
    handler(new ValidatedRequests(schema, requests as Requests<unknown>), ctx);
}

/** Puts a schema in front of a handler in callback form. */
export function validateMessages(
  schema: StandardSchemaV1,
  handler: CallbackHandler<unknown, unknown>,
): CallbackHandler<unknown, unknown> {
  return {
    ...(handler.pauseInbound === undefined ? {} : { pauseInbound: handler.pauseInbound }),
    open(ctx, writer) {
      const callbacks = handler.open(ctx, writer);
      return {
        message(request) {
          const valid = validate(schema, request);
          return valid instanceof Promise
            ? valid.then((message) => callbacks.message?.(message))
            : callbacks.message?.(valid);
        },
        end: () => (callbacks.end === undefined ? writer.end() : callbacks.end()),
        closed: (cause) => callbacks.closed?.(cause),
      };
    },
  };
}

class ValidatedRequests implements Requests<unknown> {
  readonly #schema: StandardSchemaV1;
  readonly #requests: Requests<unknown>;

  constructor(schema: StandardSchemaV1, requests: Requests<unknown>) {
    this.#schema = schema;
    this.#requests = requests;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<unknown, undefined>> {
    const result = await this.#requests.next();
    return result.done === true
      ? result
      : { value: await validate(this.#schema, result.value), done: false };
  }

  return(): Promise<IteratorResult<unknown, undefined>> {
    return this.#requests.return();
  }

  throw(error?: unknown): Promise<IteratorResult<unknown, undefined>> {
    return this.#requests.throw(error);
  }
}

async function* delegate(
  valid: Promise<unknown>,
  handler: HandlerFunction,
  ctx: unknown,
): AsyncGenerator<unknown> {
  const replies = await handler(await valid, ctx);
  // A subscription is no stream: it is what the stream goes on with.
  if (typeof replies !== 'object' || replies === null || !(Symbol.asyncIterator in replies)) {
    return replies;
  }
  return yield* replies as AsyncIterable<unknown>;
}

function outputOf(result: StandardSchemaV1.Result<unknown>): unknown {
  if (result.issues === undefined) return result.value;
  const { issues } = result;
  const violations = issues.slice(0, VIOLATIONS_MAX).map((issue) => ({
    field: pathOf(issue.path ?? []),
    description: issue.message,
  }));
  const first = violations[0];
  const rest = issues.length > 1 ? ` (and ${issues.length - 1} more)` : '';
  const where = first === undefined || first.field === '' ? '' : `${first.field}: `;
  throw new StatusError(
    Status.INVALID_ARGUMENT,
    `invalid request: ${where}${first?.description ?? 'refused by its schema'}${rest}`,
    { details: [badRequest(violations)] },
  );
}

/** `items`, 2, `price` make `items[2].price`. */
function pathOf(path: NonNullable<StandardSchemaV1.Issue['path']>): string {
  let text = '';
  for (const segment of path) {
    const key = typeof segment === 'object' ? segment.key : segment;
    if (typeof key === 'number') text += `[${key}]`;
    else text += text === '' ? String(key) : `.${String(key)}`;
  }
  return text;
}
