import type { CallbackCall, MessageWriter } from 'millrace';
import type { Eventually, Publication, Published } from './backplane/backplane.js';
import type { PublishReplyInit, PublishRequest } from './gen/millrace/pubsub/v1/pubsub.js';
import type { Publishing } from './publishing.js';
import { atIndex } from './refusals.js';

/**
 * One call of PublishStream. Replies leave in the order of the requests. Where the backplane answers
 * at once, as in memory, a publication costs no promise; otherwise outcomes are awaited in order, while
 * further publications go on up to a bound.
 */
export class PublishStream implements CallbackCall<PublishRequest> {
  readonly #publishing: Publishing;
  readonly #writer: MessageWriter<PublishReplyInit>;
  readonly #signal: () => AbortSignal;
  /** Requests so far. */
  #requests = 0;
  /** Replies so far, which is the index of the oldest open outcome. */
  #replies = 0;
  readonly #open: Eventually<Published>[] = [];
  /** Writes the open outcomes; settles when there is none. */
  #answering: Promise<void> | undefined;
  /** Nothing more is published: the stream ends when what is open has been answered. */
  #failed = false;
  #ended = false;
  #closed = false;
  /** Ends the wait that `message` is in, if it is in one. */
  #wake: (() => void) | undefined;

  constructor(
    publishing: Publishing,
    writer: MessageWriter<PublishReplyInit>,
    signal: () => AbortSignal,
  ) {
    this.#publishing = publishing;
    this.#writer = writer;
    this.#signal = signal;
  }

  message(request: PublishRequest): void | Promise<void> {
    if (this.#failed) return;
    const { link } = this.#publishing;
    this.#requests++;
    let publication: Publication;
    let writable: true | Promise<void>;
    try {
      publication = this.#publishing.check(request);
      writable = link.writable(publication.event.topic);
    } catch (error) {
      return this.#fail(error);
    }
    if (writable !== true) return this.#publishLater(publication, writable);
    return this.#publish(publication);
  }

  end(): void | Promise<void> {
    if (this.#failed) return;
    if (this.#answering === undefined) {
      this.#writer.end();
      return;
    }
    return this.#answering.then(() => {
      if (!this.#failed && !this.#closed) this.#writer.end();
    });
  }

  closed(): void {
    this.#closed = true;
    this.#open.length = 0;
    this.#wake?.();
    this.#publishing.closed(this);
  }

  /** Ends the call from this side, after the replies to what was published. */
  stop(error: unknown): void {
    if (this.#failed || this.#closed) return;
    this.#failed = true;
    void this.#settled().then(() => {
      if (this.#closed || this.#ended) return;
      this.#ended = true;
      this.#writer.fail(error);
    });
  }

  #publish(publication: Publication): void | Promise<void> {
    let outcome: Eventually<Published>;
    try {
      outcome = this.#publishing.link.publish(publication, this.#signal);
    } catch (error) {
      return this.#fail(error);
    }
    if (this.#answering === undefined && !(outcome instanceof Promise)) {
      this.#reply(outcome);
      return;
    }
    // Handled in order below; until then it must not count as unhandled.
    if (outcome instanceof Promise) outcome.catch(() => {});
    this.#open.push(outcome);
    this.#answering ??= this.#answer();
    if (this.#open.length >= this.#publishing.openMost) return this.#room();
  }

  /** A subscriber under BLOCK holds the publishers of this topic up. */
  async #publishLater(publication: Publication, first: Promise<void>): Promise<void> {
    this.#publishing.blocked();
    let writable: true | Promise<void> = first;
    while (writable !== true) {
      await this.#unlessClosed(writable);
      if (this.#closed || this.#failed) return;
      writable = this.#publishing.link.writable(publication.event.topic);
    }
    await this.#publish(publication);
  }

  #reply(outcome: Published): boolean {
    this.#replies++;
    this.#publishing.count(outcome);
    return this.#writer.write(outcome);
  }

  async #answer(): Promise<void> {
    while (this.#open.length > 0) {
      let outcome: Published;
      try {
        outcome = await this.#open[0]!;
      } catch (error) {
        if (!this.#closed) this.#end(error, this.#replies);
        break;
      }
      if (this.#closed) break;
      this.#open.shift();
      this.#wakeRoom();
      if (!this.#reply(outcome)) await this.#writer.writable().catch(() => {});
    }
    this.#answering = undefined;
    this.#wakeRoom();
  }

  /** This request cannot be published: what came before is answered first. */
  async #fail(error: unknown): Promise<void> {
    const index = this.#requests - 1;
    this.#failed = true;
    await this.#settled();
    if (!this.#closed) this.#end(error, index);
  }

  #end(error: unknown, index: number): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failed = true;
    this.#publishing.failed();
    this.#writer.fail(atIndex(error, index));
  }

  async #settled(): Promise<void> {
    await this.#answering;
  }

  /** Settles when there is room for another open outcome. */
  async #room(): Promise<void> {
    while (!this.#closed && this.#answering !== undefined) {
      if (this.#open.length < this.#publishing.openMost) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #wakeRoom(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  /** Settles with the promise, or when the call is over. */
  #unlessClosed(promise: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      promise.then(resolve, resolve);
    });
  }
}
