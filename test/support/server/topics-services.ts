// Topics on several threads: every thread opens those of one name.

import { BroadcastChannel } from 'node:worker_threads';
import { Event, PubSub } from '@millrace/pubsub';
import { type SlowConsumer, Status, StatusError, service, topics } from 'millrace';

/** The same as the test's own. */
export const threadTopics = {
  name: 'topics on threads',
  dropped: 'dropped',
  blockTimeoutMs: 2_000,
};

const events = topics(Event, threadTopics);

/** Says that this thread is busy from now on, and with what it is told that it is over. */
const stalling = new BroadcastChannel(threadTopics.name);
stalling.unref();

/** By the numbers of the contract; the first is for 0 as well. */
const policies: readonly SlowConsumer[] = [
  'drop-oldest',
  'block',
  'drop-oldest',
  'drop-newest',
  'disconnect',
];

const unimplemented = () => {
  throw new StatusError(Status.UNIMPLEMENTED, 'not here');
};

export const pubSub = service(PubSub, {
  /** To `stall`: keeps this thread busy until it is told, or for so many milliseconds. To `die`: ends it. */
  publish({ topic, payload, messageId }) {
    if (topic === 'stall') {
      const ended = new Int32Array(new SharedArrayBuffer(4));
      stalling.postMessage(ended);
      Atomics.wait(ended, 0, 0, Number(messageId));
      return {};
    }
    if (topic === 'die') process.exit(1);
    const { delivered } = events.publish(topic, { topic, payload });
    return { delivered };
  },
  publishStream: unimplemented,
  consume: unimplemented,
  subscribe: ({ pattern, group, slowConsumer, maxPending }) =>
    events.subscribe(pattern, {
      slowConsumer: policies[slowConsumer] ?? 'drop-oldest',
      maxPending: maxPending || 256,
      ...(group === '' ? {} : { group }),
    }),
});
