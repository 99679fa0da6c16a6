import type { NativeSubscription } from '../bridge/native.js';
import { publishQueued, type TopicsPort } from '../bridge/topics-port.js';

/** What happens to events for a subscriber that has `maxPending` of them waiting already. */
export type SlowConsumer = 'block' | 'drop-oldest' | 'drop-newest' | 'disconnect';

declare const event: unique symbol;

/**
 * Events on their way to one subscriber. A handler of a server-streaming or bidirectional method
 * returns it, as a plain result, a promise's or an async generator's, and native code sends the events
 * from then on: those that are published after it was returned. The response headers leave when it is
 * registered.
 *
 * It ends when its call does, by `end()`, or by its policy.
 */
export interface Subscription<M> {
  /** Which topics it wants. */
  readonly pattern: string;
  /** Resolves when its call is over, however that came about. */
  readonly closed: Promise<void>;
  /**
   * Ends the call, behind the events that wait: with OK, or with the status of an error. Again is
   * nothing.
   */
  end(error?: unknown): void;
  /** Never there: it tells subscriptions to different messages apart. */
  readonly [event]?: M;
}

/** What the subscriptions that were made by the same `topics()` have in common. */
export interface Subscribers {
  /** Those that a call has taken and that are not over. */
  readonly running: Set<Subscription<unknown>>;
  /** With what all end, since the topics are closed. */
  closed: { readonly error: unknown } | undefined;
}

/** Where a subscription is that runs. */
interface Course {
  /** Ends its call. */
  end(error: unknown): void;
}

/** A subscription as the dispatcher sees it. */
export class TopicSubscription<M> implements Subscription<M> {
  declare readonly [event]?: M;
  readonly port: TopicsPort;
  readonly wanted: NativeSubscription;
  /** The full name of the message type. */
  readonly typeName: string;
  readonly #subscribers: Subscribers;
  #state: 'new' | 'running' | 'over' = 'new';
  #course: Course | undefined;
  #ended: { readonly error: unknown } | undefined;
  #closed: Promise<void> | undefined;
  #close: (() => void) | undefined;

  constructor(
    port: TopicsPort,
    typeName: string,
    wanted: NativeSubscription,
    subscribers: Subscribers,
  ) {
    this.port = port;
    this.typeName = typeName;
    this.wanted = wanted;
    this.#subscribers = subscribers;
  }

  get pattern(): string {
    return this.wanted.pattern;
  }

  get closed(): Promise<void> {
    this.#closed ??=
      this.#state === 'over'
        ? Promise.resolve()
        : new Promise((resolve) => {
            this.#close = resolve;
          });
    return this.#closed;
  }

  end(error?: unknown): void {
    if (this.#state === 'over' || this.#ended !== undefined) return;
    this.#ended = { error };
    publishQueued();
    this.#course?.end(error);
  }

  /** Whether a call has taken it. */
  get isTaken(): boolean {
    return this.#state !== 'new';
  }

  /** A call takes it; how it is to end at once, if `end()`, or the end of its topics, was faster. */
  begin(course: Course): { readonly error: unknown } | undefined {
    this.#state = 'running';
    this.#course = course;
    const { running, closed } = this.#subscribers;
    running.add(this);
    return this.#ended ?? closed;
  }

  /** Its call is over. */
  over(): void {
    this.#state = 'over';
    this.#course = undefined;
    this.#subscribers.running.delete(this);
    this.#close?.();
  }
}
