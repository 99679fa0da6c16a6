import { Status, StatusError } from 'millrace';
import type {
  Backplane,
  BackplaneHost,
  BackplaneLink,
  Interest,
  InterestOptions,
  LocalTopics,
  Membership,
  Publication,
  Published,
} from './backplane.js';

const RETAINED = { retain: true } as const;
const TRANSIENT = { retain: false } as const;

/**
 * The backplane of one process: events are kept in memory, and nothing outlives a restart. The threads
 * of the process share everything.
 */
export function memory(): Backplane {
  return { name: 'memory', open: (host) => new MemoryLink(host) };
}

class MemoryLink implements BackplaneLink {
  readonly #topics: string;
  readonly #events: LocalTopics;
  readonly #windowMs: number;
  /** Sequences by message_id, the oldest first. */
  readonly #known = new Map<string, { readonly sequence: bigint; readonly at: number }>();

  constructor(host: BackplaneHost) {
    this.#topics = host.space;
    this.#events = host.topics(host.space);
    this.#windowMs = host.duplicateWindowMs;
  }

  publish({ event, messageId, transient }: Publication): Published {
    if (messageId !== '') {
      const known = this.#known.get(messageId);
      if (known !== undefined && performance.now() - known.at < this.#windowMs) {
        return { sequence: known.sequence, delivered: 0, duplicate: true };
      }
    }
    const options = transient ? TRANSIENT : RETAINED;
    const { sequence, delivered } = this.#events.publish(event.topic, event, options);
    if (messageId !== '') this.#known.set(messageId, { sequence, at: performance.now() });
    return { sequence, delivered, duplicate: false };
  }

  writable(topic: string): true | Promise<void> {
    return this.#events.writable(topic);
  }

  interest({ start }: InterestOptions): Interest {
    return { topics: this.#topics, start, release: () => {} };
  }

  consume(): Membership {
    throw new StatusError(Status.UNIMPLEMENTED, 'not yet');
  }

  stats(): Readonly<Record<string, number>> {
    return {};
  }

  close(): void {}
}
