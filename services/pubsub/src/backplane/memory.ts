import {
  type Duplicates,
  duplicates,
  joinDurableGroup,
  Status,
  StatusError,
  type Topics,
} from 'millrace';
import type { Event, EventInit } from '../gen/millrace/pubsub/v1/pubsub.js';
import { aboutField, refusal, unmet } from '../refusals.js';
import type {
  Backplane,
  BackplaneHost,
  BackplaneLink,
  ConsumeOptions,
  Interest,
  InterestOptions,
  Logger,
  Member,
  Membership,
  Publication,
  Published,
} from './backplane.js';
import { deadLetterOf } from './dead-letter.js';

const RETAINED = { retain: true } as const;
const TRANSIENT = { retain: false } as const;

/** What the log of this process has been told, on whichever thread: as claims, each of which is given once. */
let told: Duplicates | undefined;
const DAY_MS = 24 * 3_600_000;

/**
 * The backplane of one process: events are kept in memory, and nothing outlives a restart. The threads
 * of the process share everything.
 */
export function memory(): Backplane {
  return { name: 'memory', open: (host) => new MemoryLink(host) };
}

class MemoryLink implements BackplaneLink {
  readonly #host: BackplaneHost;
  readonly #events: Topics<Event, EventInit>;
  readonly #duplicates: Duplicates;
  #deadLetters = 0;
  #givenUp = 0;

  constructor(host: BackplaneHost) {
    this.#host = host;
    this.#events = host.topics(host.space);
    this.#duplicates = duplicates(this.#events.name, {
      windowMs: host.duplicateWindowMs,
      count: host.messageIdsMost,
    });
  }

  publish({ event, messageId, transient }: Publication): Published {
    if (messageId !== '') {
      const sequence = this.#duplicates.claim(messageId);
      if (sequence !== undefined) return { sequence, delivered: 0, duplicate: true };
    }
    const options = transient ? TRANSIENT : RETAINED;
    try {
      const { sequence, delivered } = this.#events.publish(event.topic, event, options);
      if (messageId !== '') this.#duplicates.settle(messageId, sequence);
      return { sequence, delivered, duplicate: false };
    } catch (error) {
      if (messageId !== '') this.#duplicates.release(messageId);
      throw aboutField(error, 'payload');
    }
  }

  writable(topic: string): true | Promise<void> {
    return this.#host.mayBlock(topic) ? this.#events.writable(topic) : true;
  }

  interest({ group, start }: InterestOptions): Interest {
    if (group !== '' && start !== undefined && start !== 'latest') {
      throw unmet(
        'start',
        'a group of subscribers shares what comes, the memory backplane keeps no place for it; leave start out, or use Consume',
      );
    }
    if (typeof start === 'object' && 'sequence' in start) this.#checkSequence(start.sequence);
    return { topics: this.#host.space, start, release: () => {} };
  }

  consume(options: ConsumeOptions, member: Member): Membership {
    warnOnce(this.#host.logger);
    const { pattern, group, start, ackWaitMs, maxDeliveries, maxUnacknowledged } = options;
    try {
      return joinDurableGroup(this.#events, group, {
        pattern,
        ...(start !== undefined && { start }),
        ackWaitMs,
        maxDeliveries,
        maxUnacknowledged,
        deliver: (event, sequence, attempt) => member.deliver(event, sequence, attempt),
        deadLetter: (event, sequence, attempts) =>
          this.#bury(deadLetterOf(event, sequence, options.deadLetterTopic, group, attempts)),
      });
    } catch (error) {
      const ofStart = StatusError.is(error) && error.code === Status.OUT_OF_RANGE;
      throw aboutField(error, ofStart ? 'start' : 'group');
    }
  }

  stats(): Readonly<Record<string, number>> {
    return {
      deadLetters: this.#deadLetters,
      givenUp: this.#givenUp,
      messageIdsForgotten: this.#duplicates.forgotten(),
    };
  }

  close(): void {}

  /** Whoever resumes after a restart has to hear that sequences have begun again. */
  #checkSequence(sequence: bigint): void {
    const next = BigInt(this.#events.stats().lastSequence) + 1n;
    if (sequence <= next) return;
    throw refusal(
      Status.OUT_OF_RANGE,
      'start.sequence',
      `${sequence} is beyond the next one, ${next}; the server has been restarted, or it is of another space: start with ${next}, or with the earliest`,
    );
  }

  /** Publishes a dead letter, where there is a topic for it. */
  #bury(letter: EventInit & { readonly topic: string }): void {
    if (letter.topic === '') {
      this.#givenUp++;
      return;
    }
    const options = this.#host.isTransient(letter.topic) ? TRANSIENT : RETAINED;
    try {
      this.#events.publish(letter.topic, letter, options);
      this.#deadLetters++;
    } catch (error) {
      this.#givenUp++;
      this.#host.logger.error(
        { event: 'dead_letter_failed', topic: letter.topic, err: error },
        'an event that was delivered in vain could not be published to its dead-letter topic',
      );
    }
  }
}

/** A durable name suggests more than memory can keep. */
function warnOnce(logger: Logger): void {
  if (told !== undefined) return;
  told = duplicates('@millrace/pubsub: told in the log', { windowMs: DAY_MS, count: 10 });
  if (told.claim('consume_in_memory') !== undefined) return;
  logger.warn(
    { event: 'consume_in_memory', backplane: 'memory' },
    'Consume is at least once while this process lives: the memory backplane loses events and acknowledgements when it ends; use nats() to keep them',
  );
}
