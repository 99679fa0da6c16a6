import { type AttachedServices, attach, type Service, type ServiceHost, topics } from 'millrace';
import type { Retention } from './backplane/backplane.js';
import { memory } from './backplane/memory.js';
import { Event } from './gen/millrace/pubsub/v1/pubsub.js';
import { type CheckedOptions, checkOptions, type PubSubOptions } from './options.js';
import { exhausted } from './refusals.js';
import { PubSubOfThread } from './service.js';
import { addCounters, type PubSubStats, zeroCounters } from './stats.js';

/** Publish and subscribe. Give it to `serve` among the services. */
export interface AttachedPubSub extends AttachedServices {
  /** What was counted in this thread, and what the fan-out and the backplane have counted. */
  stats(): PubSubStats;
}

/**
 * Publish and subscribe by topic, millrace.pubsub.v1: `serve({ services: [pubSub()] })`.
 *
 * With threads, export it from the services module: topics, events and subscriptions are the same on
 * all of them.
 *
 * @throws MillraceError MILLRACE_OPTION_INVALID
 */
export function pubSub(options: PubSubOptions = {}): AttachedPubSub {
  return new PubSubServers(checkOptions(options));
}

class PubSubServers implements AttachedPubSub {
  readonly #options: CheckedOptions;
  readonly #topics = new Map<string, ReturnType<typeof localTopics>>();
  /** One for each server of this thread. */
  readonly #threads: PubSubOfThread[] = [];

  constructor(options: CheckedOptions) {
    this.#options = options;
  }

  [attach](host: ServiceHost): readonly Service[] {
    const backplane = this.#options.backplane ?? memory();
    const thread = new PubSubOfThread(
      this.#options,
      backplane,
      (name, retention) => this.#topicsOf(name, retention),
      host.logger,
    );
    this.#threads.push(thread);
    host.onDrain(() => thread.drain());
    host.onClose(() => thread.link.close());
    return [thread.service];
  }

  stats(): PubSubStats {
    const counters = zeroCounters();
    const backplane: Record<string, number> = {};
    for (const thread of this.#threads) {
      addCounters(counters, thread.counters);
      addCounters(backplane, thread.link.stats());
    }
    const fanOut = [...this.#topics].map(([name, local]) => [name, local.stats()] as const);
    return { ...counters, backplane, topics: Object.fromEntries(fanOut) };
  }

  #topicsOf(name: string, retention?: Retention) {
    let local = this.#topics.get(name);
    if (local === undefined) {
      // Beside that of the space there are those of groups, which never go away.
      const { groups } = this.#options.limits;
      if (this.#topics.size > groups) {
        throw exhausted('group', `there have been ${groups} groups; raise limits.groups`);
      }
      local = localTopics(name, { ...this.#options, ...(retention && { retention }) });
      this.#topics.set(name, local);
    }
    return local;
  }
}

function localTopics(name: string, { retention, blockTimeoutMs, limits }: CheckedOptions) {
  return topics(Event, {
    name: `${Event.typeName}/${name}`,
    dropped: 'dropped',
    sequence: 'sequence',
    retention,
    blockTimeoutMs,
    limits: {
      topics: limits.topics,
      subscriptions: limits.subscriptions,
      patternBytes: limits.topicBytes,
      unacknowledgedBytes: limits.unacknowledgedBytes,
    },
  });
}
