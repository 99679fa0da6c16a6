import { Status, StatusError } from 'millrace';
import { expect, test } from 'vitest';
import type { Eventually, Interest, LocalSubscription, Start } from './backplane/backplane.js';
import { checksOf, deferred, FakeLink, fakeContext, settled } from './fakes.test-support.js';
import type { EventInit, SubscribeRequest } from './gen/millrace/pubsub/v1/pubsub.js';
import { zeroCounters } from './stats.js';
import { Subscribing } from './subscribing.js';

class FakeSubscription implements LocalSubscription {
  readonly end_ = deferred<void>();
  readonly closed = this.end_.promise;
  ended: unknown;

  end(error?: unknown): void {
    this.ended = error;
  }
}

function begun(interestOf: (released: () => void) => Eventually<Interest>, most = 1000) {
  const subscribed: { pattern: string; options: object; subscription: FakeSubscription }[] = [];
  let released = 0;
  const link = Object.assign(new FakeLink(), { interest: () => interestOf(() => released++) });
  const local = {
    publish: () => ({ sequence: 0n, delivered: 0 }),
    writable: () => true as const,
    subscribe: (pattern: string, options: { start?: Start } = {}) => {
      if (options.start !== undefined && options.start !== 'earliest') {
        const { sequence = 0n } = options.start as { sequence?: bigint };
        if (sequence > 100n) throw new StatusError(Status.OUT_OF_RANGE, 'there is no 101');
      }
      const subscription = new FakeSubscription();
      subscribed.push({ pattern, options, subscription });
      return subscription;
    },
  };
  const counters = zeroCounters();
  const subscribing = new Subscribing(link, () => local, checksOf(), counters, most);
  return { subscribing, subscribed, counters, released: () => released };
}

const request = (fields: Partial<SubscribeRequest> = {}): SubscribeRequest => ({
  pattern: 'a.*',
  group: '',
  slowConsumer: 0,
  maxPending: 0,
  start: undefined,
  ackWait: undefined,
  maxDeliveries: 0,
  deadLetterTopic: '',
  ...fields,
});

async function* replayOf(count: number, start: Start): AsyncGenerator<EventInit, Start, void> {
  for (let sequence = 1; sequence <= count; sequence++) yield { sequence };
  return start;
}

type Generator = AsyncGenerator<EventInit, FakeSubscription>;

test('what the backplane has at once is subscribed to at once, and released in the end', async () => {
  const { subscribing, subscribed, released } = begun((release) => ({
    topics: 'default',
    start: 'earliest',
    release,
  }));
  const given = subscribing.subscribe(request({ group: 'g', maxPending: 7 }), fakeContext().ctx);
  const [{ pattern, options, subscription } = {}] = subscribed;
  expect(given).toBe(subscription);
  expect(pattern).toBe('a.*');
  expect(options).toEqual({
    slowConsumer: 'drop-oldest',
    maxPending: 7,
    group: 'g',
    start: 'earliest',
  });
  expect(released()).toBe(0);
  subscription?.end_.resolve();
  await settled();
  expect(released()).toBe(1);
});

test('a replay comes first, its headers before it; then the local events from where it ended', async () => {
  const { subscribing, subscribed } = begun(async (release) => ({
    topics: 'default',
    start: undefined,
    replay: replayOf(3, { sequence: 4n }),
    release,
  }));
  const context = fakeContext();
  const given = subscribing.subscribe(request(), context.ctx) as unknown as Generator;
  expect((await given.next()).value).toEqual({ sequence: 1 });
  expect(context.headersSent()).toBe(true);
  await given.next();
  await given.next();
  expect(subscribed).toEqual([]);
  const last = await given.next();
  expect(last).toEqual({ done: true, value: subscribed[0]?.subscription });
  expect(subscribed[0]?.options).toMatchObject({ start: { sequence: 4n } });
});

test.each(['before', 'after'])(
  'a call that ends %s it is handled, and whose events nobody asks for, releases the interest',
  async (when) => {
    const interest = deferred<Interest>();
    let release = () => {};
    const { subscribing, subscribed, released } = begun((each) => {
      release = each;
      return interest.promise;
    });
    const { ctx, abort } = fakeContext();
    if (when === 'before') {
      abort.abort(new Error('cancelled'));
      expect(() => subscribing.subscribe(request(), ctx)).toThrow('cancelled');
    } else {
      const given = subscribing.subscribe(request(), ctx) as unknown as Generator;
      abort.abort();
      await given.return(undefined as never);
    }
    interest.resolve({ topics: 'default', start: undefined, release });
    await settled();
    expect(released()).toBe(1);
    expect(subscribed).toEqual([]);
  },
);

test('a call that ends during its replay releases the interest', async () => {
  const { subscribing, subscribed, released } = begun((release) => ({
    topics: 'default',
    start: undefined,
    replay: replayOf(3, { sequence: 4n }),
    release,
  }));
  const given = subscribing.subscribe(request(), fakeContext().ctx) as unknown as Generator;
  await given.next();
  await given.return(undefined as never);
  expect(released()).toBe(1);
  expect(subscribed).toEqual([]);
});

test('a drain ends a replay', async () => {
  const replay = replayOf(3, { sequence: 4n });
  const { subscribing, released } = begun((release) => ({
    topics: 'default',
    start: undefined,
    replay,
    release,
  }));
  const given = subscribing.subscribe(request(), fakeContext().ctx) as unknown as Generator;
  await given.next();
  subscribing.stop(new StatusError(Status.UNAVAILABLE, 'closing'));
  await expect(given.next()).rejects.toThrow('closing');
  expect(await replay.next()).toEqual({ done: true, value: undefined });
  expect(released()).toBe(1);
});

test('a start that is not kept is refused, counted, and released', async () => {
  const { subscribing, counters, released } = begun((release) => ({
    topics: 'default',
    start: { sequence: 101n },
    release,
  }));
  expect(() => subscribing.subscribe(request(), fakeContext().ctx)).toThrow('there is no 101');
  expect(released()).toBe(1);
  expect(counters.subscriptionsRefused).toBe(1);
});

test('a backplane that refuses is counted', async () => {
  const failure = new StatusError(Status.UNAVAILABLE, 'no broker');
  const { subscribing, counters } = begun(() => Promise.reject(failure));
  const given = subscribing.subscribe(request(), fakeContext().ctx) as unknown as Generator;
  await expect(given.next()).rejects.toBe(failure);
  expect(counters.subscriptionsRefused).toBe(1);
});

test('a drain ends what is subscribed, and what would be', async () => {
  const { subscribing, subscribed, released } = begun((release) => ({
    topics: 'default',
    start: undefined,
    release,
  }));
  subscribing.subscribe(request(), fakeContext().ctx);
  const error = new StatusError(Status.UNAVAILABLE, 'closing');
  subscribing.stop(error);
  expect(subscribed[0]?.subscription.ended).toBe(error);
  expect(() => subscribing.subscribe(request(), fakeContext().ctx)).toThrow('closing');
  expect(released()).toBe(1);
});

test('subscriptions that only replay count towards the limit until they are over', async () => {
  const endless = async function* (): AsyncGenerator<EventInit, Start, void> {
    for (;;) yield { sequence: 1 };
  };
  const { subscribing, counters, released } = begun(
    (release) =>
      Promise.resolve({ topics: 'default', start: undefined, replay: endless(), release }),
    2,
  );
  const subscribe = () => subscribing.subscribe(request(), fakeContext().ctx) as Generator;
  const [first, second] = [subscribe(), subscribe()];
  for (const each of [first, second]) expect((await each.next()).value).toEqual({ sequence: 1 });
  expect(subscribe).toThrow('there are 2 subscriptions, as many as there may be');
  expect(subscribe).toThrow('limits.subscriptions');
  expect(counters.subscriptionsRefused).toBe(2);
  await first.return(undefined as never);
  expect(released()).toBe(1);
  expect((await subscribe().next()).value).toEqual({ sequence: 1 });
});

test('a subscription that the backplane refuses does not count', async () => {
  const refusals = [
    () => Promise.reject(new StatusError(Status.UNAVAILABLE, 'later')),
    () => {
      throw new StatusError(Status.UNAVAILABLE, 'now');
    },
  ];
  let answer: (() => Promise<Interest>) | undefined;
  const { subscribing, subscribed } = begun((release) => {
    answer = refusals.shift();
    return answer?.() ?? { topics: 'default', start: undefined, release };
  }, 1);
  const subscribe = () => subscribing.subscribe(request(), fakeContext().ctx) as Generator;
  await expect(subscribe().next()).rejects.toThrow('later');
  expect(subscribe).toThrow('now');
  subscribe();
  expect(subscribed).toHaveLength(1);
});
