import { MillraceError } from '../errors.js';
import { Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';

/** Messages that may wait between a writer and the interceptors before `write` says false. */
const MARK = 16;

/** Whether messages are compressed: as the writer says when it writes, told when they are read. */
export interface PipeHost {
  readonly packs: boolean;
  /** The message that is read now. */
  taken(packs: boolean): void;
}

/** What is written at one end is read at the other: a call object's requests for its interceptors. */
export class Pipe<I> implements AsyncIterableIterator<I, undefined, void> {
  readonly #host: PipeHost;
  #messages: I[] = [];
  /** Beside each message: whether it is compressed. */
  #packs: boolean[] = [];
  #ended = false;
  #failed = false;
  #failure: unknown;
  #reader: PromiseWithResolversOf<IteratorResult<I, undefined>> | undefined;
  #writer: PromiseWithResolversOf<void> | undefined;

  constructor(host: PipeHost) {
    this.#host = host;
  }

  write(message: I): boolean {
    if (this.#failed) return false;
    if (this.#ended) throw new MillraceError('MILLRACE_WRITE_AFTER_END');
    if (this.#reader !== undefined) {
      const reader = this.#reader;
      this.#reader = undefined;
      this.#host.taken(this.#host.packs);
      reader.resolve({ value: message, done: false });
      return true;
    }
    if (this.#messages.length >= 2 * MARK) throw new MillraceError('MILLRACE_WRITE_OVERRUN');
    this.#messages.push(message);
    this.#packs.push(this.#host.packs);
    return this.#messages.length < MARK;
  }

  writable(): Promise<void> {
    if (this.#failed) return Promise.reject(this.#failure);
    if (this.#messages.length < MARK) return Promise.resolve();
    this.#writer ??= deferred<void>();
    return this.#writer.promise;
  }

  end(): void {
    this.#ended = true;
    this.#reader?.resolve({ value: undefined, done: true });
    this.#reader = undefined;
  }

  fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#failure = error;
    this.#messages = [];
    this.#packs = [];
    this.#writer?.reject(error);
    this.#writer = undefined;
    this.#reader?.resolve({ value: undefined, done: true });
    this.#reader = undefined;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<I, undefined>> {
    const message = this.#messages.shift();
    if (message !== undefined) {
      this.#host.taken(this.#packs.shift()!);
      if (this.#messages.length < MARK && this.#writer !== undefined) {
        this.#writer.resolve();
        this.#writer = undefined;
      }
      return Promise.resolve({ value: message, done: false });
    }
    if (this.#ended || this.#failed) return Promise.resolve({ value: undefined, done: true });
    this.#reader ??= deferred<IteratorResult<I, undefined>>();
    return this.#reader.promise;
  }

  return(): Promise<IteratorResult<I, undefined>> {
    // Who writes has not ended the stream: what he writes is dropped, as it is without interceptors.
    this.fail(new StatusError(Status.CANCELLED, 'nobody reads the requests any more'));
    return Promise.resolve({ value: undefined, done: true });
  }
}

interface PromiseWithResolversOf<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

function deferred<T>(): PromiseWithResolversOf<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((resolvePromise, rejectPromise) => {
    resolve = resolvePromise;
    reject = rejectPromise;
  });
  promise.catch(() => {});
  return { promise, resolve, reject };
}
