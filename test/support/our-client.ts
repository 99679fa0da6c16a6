// The client under test, in the process of the test.

import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import {
  type Client,
  type Connection,
  type ConnectionOptions,
  connect,
  connection,
  StatusError,
} from 'millrace';
import { onTestFinished } from 'vitest';

export type OurClient = Client<typeof Echo>;

/** A client with a connection of its own, closed when the test is finished. */
export function ourClient(target: string | number, options?: ConnectionOptions): OurClient {
  return ourConnection(target, options).client;
}

export function ourConnection(
  target: string | number,
  options: ConnectionOptions = {},
): { client: OurClient; connection: Connection } {
  const made = connection(typeof target === 'number' ? `127.0.0.1:${target}` : target, options);
  onTestFinished(() => made.close(1000));
  return { client: connect(Echo, made), connection: made };
}

/** The StatusError with which a call fails; throws if it does not fail so. */
export async function statusOf(call: PromiseLike<unknown>): Promise<StatusError> {
  try {
    await call;
  } catch (error) {
    if (StatusError.is(error)) return error;
    throw error;
  }
  throw new Error('the call succeeded');
}

/** The next messages of a stream, which is left then. Throws if it ends before there are so many. */
export async function take<T>(stream: AsyncIterable<T>, count: number): Promise<T[]> {
  const list: T[] = [];
  for await (const one of stream) if (list.push(one) === count) return list;
  throw new Error(`the stream has ended after ${list.length} of ${count} messages`);
}

export async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const one of stream) list.push(one);
  return list;
}
