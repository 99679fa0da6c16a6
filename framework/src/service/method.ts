import type { StandardSchemaV1 } from '@standard-schema/spec';
import { MillraceError } from '../errors.js';
import type { MethodDescriptor } from './descriptor.js';
import type { CallbackHandler } from './handler.js';

/** A handler after its form has been recognised. */
export interface BoundMethod {
  readonly service: string;
  readonly descriptor: MethodDescriptor;
  readonly schema: StandardSchemaV1 | undefined;
  readonly form: HandlerForm;
}

export type HandlerForm =
  | { readonly kind: 'function'; readonly call: HandlerFunction }
  | { readonly kind: 'callback'; readonly handler: CallbackHandler<unknown, unknown> };

/** A handler as a function of any kind: the input is a message or the request stream. */
export type HandlerFunction = (input: unknown, ctx: unknown) => unknown;

/** Recognises the form of a handler. `owner` becomes its `this`. */
export function bindMethod(
  service: string,
  key: string,
  descriptor: MethodDescriptor,
  owner: object,
  given: unknown,
): BoundMethod {
  const name = `${service}.${key}`;
  if (given === undefined) {
    throw new MillraceError('MILLRACE_HANDLER_MISSING', `${name} has no handler`);
  }
  if (isObject(given) && 'input' in given && 'handler' in given) {
    const schema = given['input'];
    if (!isSchema(schema)) {
      throw new MillraceError(
        'MILLRACE_HANDLER_INVALID',
        `the input of ${name} is no Standard Schema (zod, valibot, arktype, …)`,
      );
    }
    return { service, descriptor, schema, form: recognise(name, given, given['handler']) };
  }
  return { service, descriptor, schema: undefined, form: recognise(name, owner, given) };
}

function recognise(name: string, owner: object, given: unknown): HandlerForm {
  if (typeof given === 'function') {
    return { kind: 'function', call: given.bind(owner) as HandlerFunction };
  }
  if (isObject(given) && typeof given['open'] === 'function') {
    return { kind: 'callback', handler: given as unknown as CallbackHandler<unknown, unknown> };
  }
  throw new MillraceError(
    'MILLRACE_HANDLER_INVALID',
    `the handler of ${name} is neither a function nor an object with open()`,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isSchema(value: unknown): value is StandardSchemaV1 {
  return (isObject(value) || typeof value === 'function') && '~standard' in value;
}
