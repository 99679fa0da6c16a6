import { load } from '@millrace/native/load';
import { Writer } from '../codec/arena-writer.js';
import { toBinary } from '../codec/message.js';
import type { MessageType } from '../codec/message-type.js';
import {
  TOPICS_EVENT_CAPACITY,
  TOPICS_EVENT_COUNT,
  TOPICS_EVENTS_AT,
  TOPICS_FOUND_DELIVERED,
  TOPICS_FOUND_VERSION,
  TOPICS_MESSAGES_AT,
  TOPICS_SEQUENCE,
  TOPICS_SEQUENCE_GIVEN,
  TOPICS_USED,
  TOPICS_VERSION,
} from './layout.js';
import type { NativeSubscription, NativeTopics, NativeTopicsOptions } from './native.js';

/**
 * After so many bytes it is asked again whether somebody makes publishers wait: memory may have run out.
 * An event counts so many beside its message.
 */
const LEASE_BYTES = 64 * 1024;
const EVENT_BYTES = 128;

/** The number of topics that are closed. */
const CLOSED = 2 ** 32 - 1;

/** What `lookUp` answers where nobody makes publishers wait. */
const UNBOUNDED = 2 ** 32 - 1;

// Tests may replace it by one that does not run.
const { nextTick } = process;

/** The topics whose events are queued: one at a time, so that a thread's events keep their order. */
let queuing: TopicsPort | undefined;
/** Events that this thread has published, to whatever topics. */
let published = 0;
/** Changes when the tick is over, or `lease` used up. */
let turn = 0;
let lease = LEASE_BYTES;
let ending = false;

/** A topic as this thread knows it. */
export interface KnownTopic {
  readonly number: number;
  /** The version of the subscriptions for which `delivered` and `until` hold. */
  version: number;
  /** Subscriptions that get its events. */
  delivered: number;
  /** Up to which number of published events nobody makes its publishers wait … */
  until: number;
  /** … in this turn. -1: in every turn. */
  turn: number;
}

/**
 * Topics as native code has them: encodes into memory that both sides see, and publishes from there.
 * A message that outgrows it moves to the heap; so does one whose getters publish themselves while it is
 * encoded, which comes first.
 *
 * What is not retained is queued, and published when the tick ends or the memory is full: a crossing for
 * all of it. How many get it is known beforehand, and changes only with the version that native code shows.
 */
export class TopicsPort extends Writer {
  readonly native: NativeTopics;
  /** Functions rather than methods: see native code. */
  readonly #publishQueued: (topics: number) => void;
  readonly #publishRetained: (topics: number, topic: number, length: number) => number;
  #number: number;
  readonly #staging: Uint8Array;
  readonly #words: Uint32Array;
  readonly #sequences: BigUint64Array;
  /** A message lies behind those of the queue, or on the heap, whose getters may come back here. */
  #encoding = false;

  /** @throws Error with the code MILLRACE_TOPICS_CONFLICT */
  constructor(options: NativeTopicsOptions) {
    const { NativeTopics, publishQueued, publishRetained } = load();
    const native = new NativeTopics(options);
    const memory = native.staging();
    super(new Uint8Array(memory), TOPICS_MESSAGES_AT);
    this.native = native;
    this.#publishQueued = publishQueued;
    this.#publishRetained = publishRetained;
    this.#number = native.number;
    this.#staging = this.bytes;
    this.#words = new Uint32Array(memory);
    this.#sequences = new BigUint64Array(memory, 0, TOPICS_SEQUENCE_GIVEN);
  }

  /** What the event published last got; 0 if it is not retained. */
  get sequence(): bigint {
    return this.#sequences[TOPICS_SEQUENCE / 2]!;
  }

  /** Whether nothing more may be asked of them. */
  get isClosed(): boolean {
    return this.#number === CLOSED;
  }

  /** Publishes what is queued, and forgets everything. */
  shut(): void {
    publishQueued();
    // A message that is being encoded by a getter's doing must not go to others that get the number.
    this.#number = CLOSED;
    this.native.close();
  }

  /** Whether a getter of a message asks, which is for a topic that must not be forgotten. */
  get isEncoding(): boolean {
    return this.#encoding;
  }

  /** @throws Error with the code MILLRACE_TOPIC_ILLEGAL */
  topic(topic: string): KnownTopic {
    const number = this.native.topic(topic);
    return { number, version: -1, delivered: 0, until: 0, turn: 0 };
  }

  /** Forgets all topics: what is known of them is void. */
  forget(): void {
    publishQueued();
    this.native.forget();
  }

  /** @throws what `NativeEngine.subscribe` would */
  check(subscription: NativeSubscription): void {
    this.native.check(subscription);
  }

  stats(): string {
    publishQueued();
    return this.native.stats();
  }

  /** Publishes what is queued. */
  flush(): void {
    // The queue is read from its beginning: a message behind it would not be there any more.
    if (this.#encoding && this.bytes === this.#staging) this.#toHeap(2 * this.#staging.length);
    this.#publishQueued(this.#number);
  }

  /** Whether nobody makes the publishers of a topic wait. */
  isWritable(topic: KnownTopic): boolean {
    if (
      topic.version === this.#words[TOPICS_VERSION] &&
      published < topic.until &&
      (topic.turn === turn || topic.turn === -1)
    ) {
      return true;
    }
    this.#lookUp(topic);
    return published < topic.until;
  }

  /**
   * Publishes an event that is not retained, at the end of the tick at the latest. Returns how many
   * subscriptions of this process it is for.
   *
   * @throws EncodeError, TooLarge
   */
  queue<Init>(
    topic: KnownTopic,
    type: MessageType<unknown, Init>,
    message: Init,
    bytesMax: number,
  ): number {
    const words = this.#words;
    if (topic.version !== words[TOPICS_VERSION]) this.#lookUp(topic);
    if (this.#encoding) {
      this.#publishAside(topic, type, message, bytesMax, false);
      return topic.delivered;
    }
    if (queuing !== this) {
      publishQueued();
      queuing = this;
      endTurn();
    } else if (words[TOPICS_EVENT_COUNT]! >= TOPICS_EVENT_CAPACITY) {
      this.flush();
    }
    const length = this.#encode(type, message, bytesMax);
    if (this.bytes === this.#staging) {
      const count = words[TOPICS_EVENT_COUNT]!;
      const at = TOPICS_EVENTS_AT + 2 * count;
      words[at] = topic.number;
      words[at + 1] = length;
      words[TOPICS_EVENT_COUNT] = count + 1;
      words[TOPICS_USED] = words[TOPICS_USED]! + length;
    } else {
      this.#publishLarge(topic.number, false);
    }
    countPublished(length);
    return topic.delivered;
  }

  /**
   * Publishes an event that is retained. Returns how many subscriptions of this process it is for; -1:
   * there is an event of that sequence.
   *
   * @param sequence the event's own; 0: the next
   * @throws EncodeError, TooLarge
   */
  retain<Init>(
    topic: KnownTopic,
    type: MessageType<unknown, Init>,
    message: Init,
    bytesMax: number,
    sequence: bigint,
  ): number {
    if (this.#encoding) {
      return this.#publishAside(topic, type, message, bytesMax, true, sequence);
    }
    const length = this.#encode(type, message, bytesMax);
    if (queuing !== this) publishQueued();
    this.#sequences[TOPICS_SEQUENCE_GIVEN / 2] = sequence;
    countPublished(length);
    if (this.bytes === this.#staging) {
      return this.#publishRetained(this.#number, topic.number, length);
    }
    return this.#publishLarge(topic.number, true);
  }

  /** Leaves the message behind those of the queue, or on the heap; returns its length. */
  #encode<Init>(type: MessageType<unknown, Init>, message: Init, bytesMax: number): number {
    this.pos = TOPICS_MESSAGES_AT + this.#words[TOPICS_USED]!;
    this.begin();
    this.#encoding = true;
    try {
      type.encode(message, this);
      this.#encoding = false;
      const length = this.finish();
      if (length > bytesMax) throw new TooLarge(length);
      return length;
    } catch (error) {
      this.#encoding = false;
      this.#backToStaging();
      throw error;
    }
  }

  /** Publishes what a getter does whose own message lies behind the queue. @throws as `#encode` */
  #publishAside<Init>(
    topic: KnownTopic,
    type: MessageType<unknown, Init>,
    message: Init,
    bytesMax: number,
    retain: boolean,
    sequence = 0n,
  ): number {
    const bytes = toBinary(type, message);
    if (bytes.length > bytesMax) throw new TooLarge(bytes.length);
    publishQueued();
    this.flush();
    this.#sequences[TOPICS_SEQUENCE_GIVEN / 2] = sequence;
    countPublished(bytes.length);
    return this.native.publishLarge(topic.number, bytes, retain);
  }

  #publishLarge(topic: number, retain: boolean): number {
    const message = this.bytes.subarray(this.start, this.pos);
    this.#backToStaging();
    // Its getters may have published to others.
    if (queuing !== this) publishQueued();
    return this.native.publishLarge(topic, message, retain);
  }

  #backToStaging(): void {
    this.bytes = this.#staging;
    this.end = this.#staging.length;
  }

  #lookUp(topic: KnownTopic): void {
    publishQueued();
    const room = this.native.lookUp(topic.number);
    const words = this.#words;
    topic.version = words[TOPICS_FOUND_VERSION]!;
    topic.delivered = words[TOPICS_FOUND_DELIVERED]!;
    if (room === UNBOUNDED) {
      topic.until = Number.POSITIVE_INFINITY;
      topic.turn = -1;
    } else {
      // Not for long: other threads publish, too.
      topic.until = published + room;
      topic.turn = turn;
      endTurn();
    }
  }

  protected override overflow(need: number): void {
    const length = this.pos - this.start;
    if (this.bytes === this.#staging && this.#words[TOPICS_USED] !== 0) {
      this.#publishQueued(this.#number);
      if (TOPICS_MESSAGES_AT + length + need <= this.end) {
        this.bytes.copyWithin(TOPICS_MESSAGES_AT, this.start, this.pos);
        this.start = TOPICS_MESSAGES_AT;
        this.pos = TOPICS_MESSAGES_AT + length;
        return;
      }
    }
    this.#toHeap(Math.max(2 * length, length + need));
  }

  /** Moves the message that is being encoded. */
  #toHeap(capacity: number): void {
    const length = this.pos - this.start;
    const grown = Buffer.allocUnsafeSlow(capacity);
    grown.set(this.bytes.subarray(this.start, this.pos));
    this.bytes = grown;
    this.start = 0;
    this.pos = length;
    this.end = grown.length;
  }
}

function countPublished(length: number): void {
  published++;
  lease -= EVENT_BYTES + length;
  if (lease > 0) return;
  lease = LEASE_BYTES;
  turn++;
}

/** Publishes what is queued on this thread: a subscription that comes or ends now is behind it. */
export function publishQueued(): void {
  const port = queuing;
  if (port === undefined) return;
  queuing = undefined;
  port.flush();
}

/** Publishes when the tick is over, also of a thread without an engine. */
function endTurn(): void {
  if (ending) return;
  ending = true;
  nextTick(() => {
    ending = false;
    turn++;
    lease = LEASE_BYTES;
    publishQueued();
  });
}

/** The message has more bytes than it may. */
export class TooLarge extends Error {
  readonly length: number;

  constructor(length: number) {
    super(`${length} bytes`);
    this.length = length;
  }
}
