import { connect } from '../../client/client.js';
import type { Connection } from '../../client/connection.js';
import type { Metadata } from '../../context/metadata.js';
import type { MethodDescriptor } from '../../service/descriptor.js';
import { type ConnectionFlags, callOptions } from './connection-options.js';

/** A message of a dynamic type. */
export type Message = Record<string, unknown>;

/** A call of any kind: its responses come one by one. */
export interface Invocation {
  readonly headers: Promise<Metadata>;
  readonly trailers: Promise<Metadata>;
  readonly responses: AsyncIterable<Message>;
}

type Sides = Pick<Invocation, 'headers' | 'trailers'>;

/** @param input a message, or the stream of them where the method takes one */
export function invoke(
  connection: Connection,
  service: string,
  method: MethodDescriptor,
  input: Message | AsyncIterable<Message>,
  flags: ConnectionFlags,
): Invocation {
  const client = connect({ typeName: service, methods: { call: method } }, connection);
  // Its kind is known at run time only.
  const made = (client.call as (input: never, options: object) => unknown)(
    input as never,
    callOptions(flags),
  ) as Sides & (Promise<Message> | AsyncIterable<Message>);
  const { headers, trailers } = made;
  return {
    headers,
    trailers,
    responses: Symbol.asyncIterator in made ? made : single(made),
  };
}

async function* single(response: Promise<Message>): AsyncGenerator<Message> {
  yield await response;
}
