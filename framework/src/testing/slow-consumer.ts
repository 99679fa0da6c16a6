import type { ResponseStream } from '../client/stream-call.js';

/** Reads a stream of responses as slowly as a test wants: message by message, or not at all. */
export interface SlowConsumer<R> {
  /** Messages read so far. */
  readonly count: number;
  /** Reads so many messages, or fewer if the stream ends with OK; then stops again. */
  read(count: number): Promise<R[]>;
  /** Reads to the end. */
  rest(): Promise<R[]>;
  /** Gives the call up. */
  cancel(): void;
}

/**
 * A consumer that reads only what a test tells it to. What it does not read stays with the server but
 * for a window's worth, so that the producer has to wait.
 *
 * ```ts
 * const slow = slowConsumer(t.client(Orders).watch({}));
 * await slow.read(3);
 * ```
 *
 * @param stream what a client's method returned; nothing else may read it
 */
export function slowConsumer<R>(stream: ResponseStream<R>): SlowConsumer<R> {
  let count = 0;
  const read = async (wanted: number): Promise<R[]> => {
    const messages: R[] = [];
    while (messages.length < wanted) {
      const { value, done } = await stream.next();
      if (done === true) break;
      messages.push(value);
      count++;
    }
    return messages;
  };
  return {
    get count() {
      return count;
    },
    read,
    rest: () => read(Number.POSITIVE_INFINITY),
    cancel: () => stream.cancel(),
  };
}
