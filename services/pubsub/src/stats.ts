import type { TopicsStats } from 'millrace';

/** What there is of the service in one thread. */
export interface PubSubStats extends Readonly<ServiceCounters> {
  /** The native fan-out, by the name of its events; that of the space among them. */
  readonly topics: Readonly<Record<string, TopicsStats>>;
  /** What the backplane has counted. */
  readonly backplane: Readonly<Record<string, number>>;
}

/** What the service has counted in one thread, since it started. */
export interface ServiceCounters {
  /** Events that were published here, duplicates not counted. */
  published: number;
  /** Events that had been published before, by their `message_id`. */
  duplicates: number;
  /** Publications that were not made: illegal, over a limit, or the backplane failed. */
  publicationsFailed: number;
  /** Publications that waited for a subscriber under BLOCK. */
  publicationsBlocked: number;
  /** Subscriptions that were refused. */
  subscriptionsRefused: number;
  /** Consumers that have joined a group. */
  consumersJoined: number;
  /** Deliveries to consumers. */
  deliveries: number;
  /** Those of them that were not the first of their event. */
  redeliveries: number;
  /** Events that a consumer has said to be done with. */
  acknowledged: number;
  /** Events that a consumer wants to be delivered again at once. */
  rejected: number;
  /** Acknowledgements of either kind for what was not, or no longer, the consumer's. */
  unknownAcknowledgements: number;
}

export function zeroCounters(): ServiceCounters {
  return {
    published: 0,
    duplicates: 0,
    publicationsFailed: 0,
    publicationsBlocked: 0,
    subscriptionsRefused: 0,
    consumersJoined: 0,
    deliveries: 0,
    redeliveries: 0,
    acknowledged: 0,
    rejected: 0,
    unknownAcknowledgements: 0,
  };
}

/** Adds what has the same name. */
export function addCounters(to: object, counters: object): void {
  const sums = to as Record<string, number>;
  for (const [name, value] of Object.entries(counters)) sums[name] = (sums[name] ?? 0) + value;
}
