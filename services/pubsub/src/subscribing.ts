import type { Context, StatusError } from 'millrace';
import type {
  BackplaneLink,
  Eventually,
  Interest,
  LocalSubscription,
  LocalTopics,
  Start,
} from './backplane/backplane.js';
import type { EventInit, SubscribeRequest } from './gen/millrace/pubsub/v1/pubsub.js';
import { aboutField, exhausted } from './refusals.js';
import type { CheckedSubscription, RequestChecks } from './request-checks.js';
import type { ServiceCounters } from './stats.js';

/** Subscribe in one thread. */
export class Subscribing {
  readonly #link: BackplaneLink;
  readonly #topics: (name: string) => LocalTopics;
  readonly #checks: RequestChecks;
  readonly #counters: ServiceCounters;
  readonly #subscriptionsMost: number;
  readonly #subscriptions = new Set<LocalSubscription>();
  /** Claims on the backplane: of subscriptions, and of those that only replay. */
  #interests = 0;
  #stopped: StatusError | undefined;
  readonly #stopping = new AbortController();

  constructor(
    link: BackplaneLink,
    topics: (name: string) => LocalTopics,
    checks: RequestChecks,
    counters: ServiceCounters,
    subscriptionsMost: number,
  ) {
    this.#link = link;
    this.#topics = topics;
    this.#checks = checks;
    this.#counters = counters;
    this.#subscriptionsMost = subscriptionsMost;
  }

  subscribe(
    request: SubscribeRequest,
    ctx: Context,
  ): LocalSubscription | AsyncGenerator<EventInit, LocalSubscription> {
    const { asked, interest } = this.#ask(request, ctx);
    if (interest instanceof Promise || interest.replay !== undefined) {
      const { signal } = ctx;
      // What is returned to a call that is over is never begun.
      const giveUp = () => {
        void Promise.resolve(interest).then(
          (unused) => unused.release(),
          () => {},
        );
      };
      if (signal.aborted) {
        giveUp();
        throw signal.reason;
      }
      signal.addEventListener('abort', giveUp, { once: true });
      const begun = () => signal.removeEventListener('abort', giveUp);
      return this.#subscribeLater(asked, interest, ctx, begun);
    }
    return this.#handOver(asked, interest, interest.start);
  }

  /** Ends all subscriptions, and those that have not begun yet. */
  stop(error: StatusError): void {
    this.#stopped = error;
    this.#stopping.abort(error);
    for (const subscription of this.#subscriptions) subscription.end(error);
  }

  #ask(request: SubscribeRequest, ctx: Context) {
    try {
      const asked = this.#checks.subscription(request);
      const { pattern, group, start, slowConsumer } = asked;
      let over: AbortSignal | undefined;
      const signal = () => {
        over ??= AbortSignal.any([ctx.signal, this.#stopping.signal]);
        return over;
      };
      const blocking = slowConsumer === 'block';
      const interest = this.#counted(() =>
        this.#link.interest({ pattern, group, start, blocking }, signal),
      );
      return { asked, interest };
    } catch (error) {
      this.#counters.subscriptionsRefused++;
      throw error;
    }
  }

  /** What has become a native subscription is bounded natively, too; a replay is nothing there yet. */
  #counted(ask: () => Eventually<Interest>): Eventually<Interest> {
    if (this.#interests >= this.#subscriptionsMost) {
      throw exhausted(
        'pattern',
        `there are ${this.#interests} subscriptions, as many as there may be; end some, or raise limits.subscriptions`,
      );
    }
    this.#interests++;
    const refused = (error: unknown): never => {
      this.#interests--;
      throw error;
    };
    const granted = (interest: Interest) => {
      return new CountedInterest(interest, () => this.#interests--);
    };
    try {
      const interest = ask();
      if (interest instanceof Promise) return interest.then(granted, refused);
      return granted(interest);
    } catch (error) {
      return refused(error);
    }
  }

  /** First what the backplane has kept, then what comes. */
  async *#subscribeLater(
    asked: CheckedSubscription,
    eventually: Eventually<Interest>,
    ctx: Context,
    begun: () => void,
  ): AsyncGenerator<EventInit, LocalSubscription> {
    begun();
    let interest: Interest;
    try {
      interest = await eventually;
    } catch (error) {
      this.#counters.subscriptionsRefused++;
      throw error;
    }
    let start = interest.start;
    let replayed = false;
    try {
      if (interest.replay !== undefined) {
        // The backplane has it: what is published from now on comes, after what it has kept.
        ctx.sendHeaders();
        start = yield* this.#whileServing(interest.replay);
      }
      replayed = true;
    } finally {
      if (!replayed) interest.release();
    }
    return this.#handOver(asked, interest, start);
  }

  /** A replay as far as the drain. */
  async *#whileServing(
    replay: NonNullable<Interest['replay']>,
  ): AsyncGenerator<EventInit, Start | undefined> {
    try {
      for (;;) {
        const { done, value } = await replay.next();
        if (this.#stopped !== undefined) throw this.#stopped;
        if (done === true) return value;
        yield value;
      }
    } catch (error) {
      throw this.#stopped ?? error;
    } finally {
      await replay.return(undefined);
    }
  }

  /** Subscribes locally. The interest is released when that is over, or has failed. */
  #handOver(
    { pattern, group, slowConsumer, maxPending }: CheckedSubscription,
    interest: Interest,
    start: Start | undefined,
  ): LocalSubscription {
    try {
      if (this.#stopped !== undefined) throw this.#stopped;
      const subscription = this.#topics(interest.topics).subscribe(pattern, {
        slowConsumer,
        maxPending,
        ...(group !== '' && { group }),
        ...(start !== undefined && { start }),
      });
      this.#subscriptions.add(subscription);
      void subscription.closed.then(() => {
        this.#subscriptions.delete(subscription);
        interest.release();
      });
      return subscription;
    } catch (error) {
      this.#counters.subscriptionsRefused++;
      interest.release();
      // What is wrong with the rest of the request has been said before.
      const ofStart = start !== undefined && error !== this.#stopped;
      throw ofStart ? aboutField(error, 'start') : error;
    }
  }
}

/** An interest whose end is counted. */
class CountedInterest implements Interest {
  readonly #interest: Interest;
  readonly #over: () => void;

  constructor(interest: Interest, over: () => void) {
    this.#interest = interest;
    this.#over = over;
  }

  get topics(): string {
    return this.#interest.topics;
  }

  get start(): Start | undefined {
    return this.#interest.start;
  }

  get replay(): Interest['replay'] {
    return this.#interest.replay;
  }

  release(): void {
    this.#over();
    this.#interest.release();
  }
}
