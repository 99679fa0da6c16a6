// What a request has to be like before anything is done with it.

import { durationToMs, type Timestamp, timestampToMs } from 'millrace/codec';
import type { ConsumeOptions, Publication, Start } from './backplane/backplane.js';
import {
  type PublishRequest,
  SlowConsumer,
  type StartAt,
  type SubscribeRequest,
} from './gen/millrace/pubsub/v1/pubsub.js';
import type { CheckedOptions } from './options.js';
import { covers, patternFault, topicFault } from './patterns.js';
import { Policies, type SlowPolicy } from './policies.js';
import { exhausted, illegal, unmet } from './refusals.js';

/** Topics whose check is remembered; more than a publisher with many topics uses at a time. */
const TOPICS_REMEMBERED = 10_000;

/** Names that every backplane can carry: NATS takes no dots or spaces in that of a consumer. */
const GROUP = /^[A-Za-z0-9_-]{1,64}$/;

/** `max_pending` where a request has none. */
const PENDING_DEFAULT = 256;

/** How long to wait for an acknowledgement where a request does not say. */
const ACK_WAIT_MS_DEFAULT = 30_000;
const ACK_WAIT_MS_MOST = 24 * 3600 * 1000;

/** How many more publications of a tick have the time of one: to read a clock costs as much as a check. */
const STAMP_USES = 31;

// Tests may replace it by one that does not run.
const { nextTick } = process;

/** The end of the year 9999, where a google.protobuf.Timestamp ends. */
const TIME_MOST = 253_402_300_799_999;

/** What publishers need to know of a topic. */
interface TopicFacts {
  readonly transient: boolean;
  readonly mayBlock: boolean;
}

/** What a subscription was asked for, checked. */
export interface CheckedSubscription {
  readonly pattern: string;
  readonly group: string;
  readonly slowConsumer: SlowPolicy;
  readonly maxPending: number;
  readonly start: Start | undefined;
}

/** The checks of one server thread; each throws a StatusError with the field and the remedy. */
export class RequestChecks {
  readonly #options: CheckedOptions;
  readonly #policies: Policies;
  /** Legal topics. */
  readonly #topics = new Map<string, TopicFacts>();
  readonly #durable = new Set<string>();
  /** One bigint a second. */
  #second = -1;
  #seconds = 0n;
  #stamp: Timestamp = { seconds: 0n, nanos: 0 };
  #uses = 0;
  readonly #forgetStamp = () => {
    this.#uses = 0;
  };

  constructor(options: CheckedOptions) {
    this.#options = options;
    this.#policies = new Policies(options.topics);
  }

  /** Whether events of this topic are not kept. */
  isTransient(topic: string): boolean {
    return this.#topics.get(topic)?.transient ?? this.#onlyTransient(topic);
  }

  /** Whether a subscriber of this topic may hold its publishers up. */
  mayBlock(topic: string): boolean {
    return this.#topics.get(topic)?.mayBlock ?? this.#policies.allows(topic, 'block');
  }

  /** @throws StatusError INVALID_ARGUMENT, RESOURCE_EXHAUSTED */
  publication(request: PublishRequest): Publication {
    const { topic, payload, attributes, messageId } = request;
    const { limits } = this.#options;
    const { transient } = this.#topics.get(topic) ?? this.#newTopic(topic);
    if (payload.length > limits.payloadBytes) {
      throw exhausted(
        'payload',
        `it has ${payload.length} bytes, more than ${limits.payloadBytes}; split it, or raise limits.payloadBytes`,
      );
    }
    if (messageId !== '')
      checkText('message_id', messageId, limits.messageIdBytes, 'messageIdBytes');
    const publishedAt = this.#now();
    if (attributes.size === 0) {
      return { event: { topic, payload, publishedAt }, messageId, transient };
    }
    this.#checkAttributes(attributes);
    return { event: { topic, payload, attributes, publishedAt }, messageId, transient };
  }

  /** @throws StatusError INVALID_ARGUMENT, FAILED_PRECONDITION */
  subscription(request: SubscribeRequest): CheckedSubscription {
    this.#checkPattern(request.pattern);
    const { pattern, group } = request;
    if (group !== '') checkGroup(group);
    if (request.ackWait !== undefined) onlyConsume('ack_wait');
    if (request.maxDeliveries !== 0) onlyConsume('max_deliveries');
    if (request.deadLetterTopic !== '') onlyConsume('dead_letter_topic');
    const start = startOf(request.start);
    if (start !== undefined && start !== 'latest' && this.#onlyTransient(pattern)) {
      throw unmet(
        'start',
        `the topics that ${pattern} matches are transient, nothing of them is kept; leave start out`,
      );
    }
    return {
      pattern,
      group,
      slowConsumer: this.#policies.choose(pattern, request.slowConsumer),
      maxPending: this.#pending(request.maxPending),
      start,
    };
  }

  /** @throws StatusError INVALID_ARGUMENT, FAILED_PRECONDITION */
  consumption(request: SubscribeRequest): ConsumeOptions & { readonly credit: number } {
    this.#checkPattern(request.pattern);
    const { pattern, group, maxDeliveries, deadLetterTopic } = request;
    if (group === '') {
      throw illegal('group', 'Consume needs the durable name of its group; give one');
    }
    checkGroup(group);
    if (this.#onlyTransient(pattern)) {
      throw unmet(
        'pattern',
        `the topics that ${pattern} matches are transient, nothing of them can be delivered again; use Subscribe`,
      );
    }
    if (request.slowConsumer !== SlowConsumer.SLOW_CONSUMER_UNSPECIFIED) {
      throw illegal('slow_consumer', 'Consume has no policy but credit; leave it out');
    }
    if (deadLetterTopic !== '') this.#checkDeadLetters(pattern, deadLetterTopic);
    const options = {
      pattern,
      group,
      start: startOf(request.start),
      ackWaitMs: ackWaitMs(request),
      maxDeliveries,
      deadLetterTopic,
      maxUnacknowledged: this.#options.limits.unacknowledged,
      credit: this.#pending(request.maxPending),
    };
    // Last: a request that is refused makes no group.
    this.#countDurable(group);
    return options;
  }

  /** A durable group stays when its members have gone, so that it is bounded how many there are. */
  #countDurable(group: string): void {
    const { groups } = this.#options.limits;
    if (this.#durable.size >= groups && !this.#durable.has(group)) {
      throw exhausted(
        'group',
        `there have been ${groups} groups; use one of them, or raise limits.groups`,
      );
    }
    this.#durable.add(group);
  }

  #newTopic(topic: string): TopicFacts {
    const wrong = topicFault(topic, this.#options.limits);
    if (wrong !== undefined) throw illegal('topic', wrong);
    const transient = this.#onlyTransient(topic);
    const facts = { transient, mayBlock: this.#policies.allows(topic, 'block') };
    if (this.#topics.size >= TOPICS_REMEMBERED) this.#topics.clear();
    this.#topics.set(topic, facts);
    return facts;
  }

  #onlyTransient(pattern: string): boolean {
    return this.#options.transient.some((transient) => covers(transient, pattern));
  }

  #checkPattern(pattern: string): void {
    const wrong = patternFault(pattern, this.#options.limits);
    if (wrong !== undefined) throw illegal('pattern', wrong);
  }

  #checkDeadLetters(pattern: string, topic: string): void {
    const wrong = topicFault(topic, this.#options.limits);
    if (wrong !== undefined) throw illegal('dead_letter_topic', wrong);
    if (covers(pattern, topic)) {
      throw illegal(
        'dead_letter_topic',
        `${pattern} matches it, so that its events would come back for ever; take another topic`,
      );
    }
  }

  #checkAttributes(attributes: ReadonlyMap<string, string>): void {
    const { attributeBytes } = this.#options.limits;
    let bytes = 0;
    for (const [name, value] of attributes) {
      bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
    }
    if (bytes <= attributeBytes) return;
    throw exhausted(
      'attributes',
      `they have ${bytes} bytes, more than ${attributeBytes}; move some into the payload, or raise limits.attributeBytes`,
    );
  }

  #pending(asked: number): number {
    const { pendingEvents } = this.#options.limits;
    if (asked > pendingEvents) {
      throw illegal(
        'max_pending',
        `${asked} is more than ${pendingEvents}; ask for less, or raise limits.pendingEvents`,
      );
    }
    return asked === 0 ? Math.min(PENDING_DEFAULT, pendingEvents) : asked;
  }

  /** A google.protobuf.Timestamp. */
  #now(): Timestamp {
    if (this.#uses > 0) {
      this.#uses--;
      return this.#stamp;
    }
    this.#uses = STAMP_USES;
    nextTick(this.#forgetStamp);
    const now = Date.now();
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#seconds = BigInt(second);
    }
    this.#stamp = { seconds: this.#seconds, nanos: (now - second * 1000) * 1_000_000 };
    return this.#stamp;
  }
}

function startOf(start: StartAt | undefined): Start | undefined {
  const at = start?.at;
  if (at === undefined) return undefined;
  switch (at.case) {
    case 'sequence':
      if (at.value > 0n) return { sequence: at.value };
      throw illegal('start.sequence', 'sequences begin with 1; take that, or earliest');
    case 'time': {
      const time = timestampToMs(at.value);
      if (time >= 0 && time <= TIME_MOST) return { time };
      throw illegal(
        'start.time',
        time < 0
          ? 'it is before 1970; take a later one, or earliest'
          : 'it is after the year 9999; take an earlier one, or latest',
      );
    }
    default:
      if (at.value) return at.case;
      throw illegal(`start.${at.case}`, 'it is false; make it true, or leave start out');
  }
}

function ackWaitMs({ ackWait }: SubscribeRequest): number {
  if (ackWait === undefined) return ACK_WAIT_MS_DEFAULT;
  const given = durationToMs(ackWait);
  if (given >= 1 && given <= ACK_WAIT_MS_MOST) return Math.ceil(given);
  throw illegal(
    'ack_wait',
    `${given} ms is not from 1 ms to 24 h; give such a time, or none for 30 s`,
  );
}

function checkGroup(group: string): void {
  if (GROUP.test(group)) return;
  throw illegal('group', 'it is not made of 1 to 64 letters, digits, - and _; choose such a name');
}

function checkText(field: string, text: string, most: number, limit: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > most) {
    throw illegal(
      field,
      `it has ${bytes} bytes, more than ${most}; shorten it, or raise limits.${limit}`,
    );
  }
}

function onlyConsume(field: string): never {
  throw illegal(field, 'Subscribe is at most once and knows no acknowledgements; use Consume');
}
