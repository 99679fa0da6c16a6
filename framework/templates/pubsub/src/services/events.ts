import { pubSub } from '@millrace/pubsub';

/**
 * Publish and subscribe for any client, as millrace.pubsub.v1.PubSub: replay, queue groups, and Consume
 * with acknowledgements. Within this process; `backplane` joins several by NATS.
 */
export const events = pubSub({
  // What subscribers may choose for when they do not keep up; the first is what they get unasked.
  topics: [
    { pattern: 'jobs.>', slowConsumer: ['block', 'disconnect'] },
    { pattern: '>', slowConsumer: ['drop-oldest', 'disconnect'] },
  ],
  retention: { count: 10_000, bytes: 16 * 1024 * 1024, ageMs: 3_600_000 },
});
