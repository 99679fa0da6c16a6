import type { NativeSubscription } from '../bridge/native.js';
import { type KnownTopic, TooLarge, TopicsPort } from '../bridge/topics-port.js';
import type { MessageType } from '../codec/message-type.js';
import { MillraceError } from '../errors.js';
import { limitTable } from '../limits.js';
import { badRequest } from '../status/details.js';
import { Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';
import { checkTopicsOptions, type TopicsOptions } from './options.js';
import {
  type SlowConsumer,
  type Subscribers,
  type Subscription,
  TopicSubscription,
} from './subscription.js';

const policies: readonly SlowConsumer[] = ['block', 'drop-oldest', 'drop-newest', 'disconnect'];
const MAX_PENDING = 256;
const MAX_PENDING_MOST = 1_000_000;

/** What became of an event. */
export interface Published {
  /** 0 if it is not retained. */
  readonly sequence: bigint;
  /** Subscriptions of this process that it is for; a queue group counts one. */
  readonly delivered: number;
}

/** Whether an event is kept. */
export interface PublishOptions {
  /** Keeps it, as far as the retention goes, and gives it a sequence. Default: if there is a retention. */
  readonly retain?: boolean;
  /**
   * Its sequence, where that comes from elsewhere: a broker's, say. If there is an event of it already,
   * nothing is published. Default: the next.
   */
  readonly sequence?: bigint;
}

/** Where replays and durable groups start. A time is in milliseconds since 1970. */
export type Start =
  | { readonly sequence: bigint }
  | { readonly time: number }
  | 'earliest'
  | 'latest';

/** How a subscriber wants its events. */
export interface SubscribeOptions {
  /**
   * What happens when `maxPending` events wait for it. `drop-oldest`, the default, and `drop-newest` drop
   * one and count it in the next event. `disconnect` ends the call with RESOURCE_EXHAUSTED. `block`
   * keeps all and has publishers wait ({@link Topics.writable}), for `blockTimeoutMs` at most.
   */
  readonly slowConsumer?: SlowConsumer;
  /** Events that may wait for it. Default 256. */
  readonly maxPending?: number;
  /** A queue group: each event goes to one of its members whose pattern matches, in turn. */
  readonly group?: string;
  /**
   * With which retained events it begins, before those that are published: without gap or repetition.
   * Not in a queue group. A replay that the retention overtakes counts what it missed as dropped, or is
   * cut off, by its policy. Default `latest`: none.
   */
  readonly start?: Start;
}

/** What is there of topics, and what was counted: on all threads, but for `topics`, `topicsForgotten` and `blockedMs`. */
export interface TopicsStats {
  /** Topics whose subscribers this thread knows. */
  readonly topics: number;
  /** Topics that it knew and forgot, for there being more than `limits.topics`; in use, they are known anew. */
  readonly topicsForgotten: number;
  /** Subscriptions that run. */
  readonly subscriptions: number;
  /** Events published. */
  readonly published: number;
  /** Events given to the connections of subscribers. */
  readonly delivered: number;
  /** Events that a subscriber did not get, by its policy or for want of memory. */
  readonly dropped: number;
  /** Subscribers that were cut off by `disconnect`, or by `block` after its time. */
  readonly disconnected: number;
  /** How long publishers of this thread have waited, topic by topic. */
  readonly blockedMs: number;
  /** Events that are kept. */
  readonly retained: number;
  /** Their bytes. */
  readonly retainedBytes: number;
  /** Events that were kept and are not any more. */
  readonly evicted: number;
  /** The highest sequence; 0: there is none yet. */
  readonly lastSequence: number;
  /** Durable groups, those without members included. */
  readonly durableGroups: number;
  /** Events that durable groups hold: given out and not acknowledged, or dead and not taken yet. */
  readonly unacknowledged: number;
  /** Their bytes, those of an event once for each group. */
  readonly unacknowledgedBytes: number;
  /** Deliveries to members of durable groups. */
  readonly consumed: number;
  /** Those of events that had been delivered before. */
  readonly redelivered: number;
  /** Events that a member has acknowledged. */
  readonly acknowledged: number;
  /** Deliveries that a member has rejected. */
  readonly rejected: number;
  /** Deliveries that were not acknowledged in time. */
  readonly timedOut: number;
  /** Events that were delivered as often as they may be, and acknowledged by nobody. */
  readonly deadLetters: number;
  /** How often the retention has evicted events that a durable group had not taken yet. */
  readonly overtaken: number;
  /** How often a durable group was given nothing new, since it held as much as it may. */
  readonly heldBack: number;
}

/** Events of one message type, published by topic and sent to subscribers by native code. */
export interface Topics<M, Init = M> {
  /** By which threads share them. */
  readonly name: string;
  /**
   * Publishes an event to every subscription of this process whose pattern matches. The topic is made
   * of tokens separated by dots; none is empty or begins with `$`.
   *
   * @throws StatusError INVALID_ARGUMENT for an illegal topic, RESOURCE_EXHAUSTED for a message of more
   * than 4 MiB; EncodeError; MillraceError MILLRACE_OPTION_INVALID for an event that is to be kept where
   * nothing is
   */
  publish(topic: string, message: Init, options?: PublishOptions): Published;
  /**
   * True, or a promise that resolves when no subscriber with the policy `block` holds up this topic
   * any more: to be asked before `publish`. A publisher that does not ask holds more of the events
   * than subscribers wanted.
   *
   * @throws StatusError INVALID_ARGUMENT for an illegal topic
   */
  writable(topic: string): true | Promise<void>;
  /**
   * A subscription for a handler to return. In the pattern, `*` stands for one token and `>`, as the
   * last, for one or more.
   *
   * @throws StatusError INVALID_ARGUMENT for an illegal pattern or option, FAILED_PRECONDITION for a
   * start where nothing is retained, OUT_OF_RANGE for one that is not retained any more or that is
   * beyond the next sequence
   */
  subscribe(pattern: string, options?: SubscribeOptions): Subscription<M>;
  /** What there is now, and what was counted. */
  stats(): TopicsStats;
  /**
   * Gives these topics up, on this thread: subscriptions that were made by them end behind what was published,
   * with OK or with the status of an error; members of durable groups leave; publishers that wait may go on.
   * What else is asked of them then throws MILLRACE_TOPICS_CLOSED. Again is nothing.
   *
   * Their events, sequences and durable groups are forgotten when whoever has made topics of the name, on any
   * thread, has closed them, and the calls of their subscribers are over. Topics that nobody closes stay until
   * their thread ends: no server closes them, and none needs to be.
   */
  close(error?: unknown): void;
  /** `close()`, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Topics for events of one message type. Those of one name are the same on all threads of the process.
 *
 * @throws MillraceError MILLRACE_OPTION_INVALID; MILLRACE_TOPICS_CONFLICT if they exist with other
 * options
 */
export function topics<M, Init>(
  type: MessageType<M, Init>,
  options: TopicsOptions = {},
): Topics<M, Init> {
  return new NativeTopics(type, options);
}

/** What is behind topics. */
export interface Inside<M> {
  readonly port: TopicsPort;
  readonly type: MessageType<M, never>;
  /** What else has to end when they are closed, before they are. */
  readonly closing: Set<() => void>;
}

/** What is behind topics, which `topics()` has made. */
export function insideOf<M>(made: Topics<M, never>): Inside<M> {
  return (made as NativeTopics<M, never>).inside;
}

/** A publisher that waits for a topic. */
interface Wait {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly since: number;
}

class NativeTopics<M, Init> implements Topics<M, Init> {
  readonly name: string;
  readonly #type: MessageType<M, Init>;
  readonly #port: TopicsPort;
  readonly #topicsMax: number;
  readonly #retains: boolean;
  readonly #known = new Map<string, KnownTopic>();
  readonly #waits = new Map<string, Wait>();
  readonly #subscribers: Subscribers = { running: new Set(), closed: undefined };
  readonly #closing = new Set<() => void>();
  #blockedMs = 0;
  #forgotten = 0;
  /** There is a timer for that. */
  #judging = false;

  constructor(type: MessageType<M, Init>, options: TopicsOptions) {
    const checked = checkTopicsOptions(type, options);
    this.name = checked.name;
    this.#type = type;
    this.#topicsMax = checked.topics;
    this.#retains = checked.retention !== undefined;
    this.#port = open(checked);
    this.#port.native.onWritable(() => this.#wake());
  }

  publish(topic: string, message: Init, options?: PublishOptions): Published {
    const retain = options?.retain ?? this.#retains;
    if (retain && !this.#retains) {
      throw new MillraceError(
        'MILLRACE_OPTION_INVALID',
        `retain is true, but the topics "${this.name}" have no retention`,
      );
    }
    const known = this.#known.get(topic) ?? this.#add(topic);
    const port = this.#port;
    const most = limitTable.sendMessageBytes.default;
    try {
      if (!retain) {
        return { sequence: 0n, delivered: port.queue(known, this.#type, message, most) };
      }
      const own = options?.sequence ?? 0n;
      const delivered = port.retain(known, this.#type, message, most, own);
      return { sequence: port.sequence, delivered: Math.max(0, delivered) };
    } catch (error) {
      if (error instanceof TooLarge) throw tooLarge(this.#type.typeName, error.length);
      if (this.#port.isClosed) throw closed(this.name);
      throw error;
    }
  }

  /** What the rest of this folder needs. */
  get inside(): Inside<M> {
    return { port: this.#port, type: this.#type, closing: this.#closing };
  }

  writable(topic: string): true | Promise<void> {
    const known = this.#known.get(topic) ?? this.#add(topic);
    if (this.#port.isWritable(known)) return true;
    let wait = this.#waits.get(topic);
    if (wait === undefined) {
      let resolve = () => {};
      const promise = new Promise<void>((settle) => {
        resolve = settle;
      });
      wait = { promise, resolve, since: performance.now() };
      this.#waits.set(topic, wait);
      this.#judge([topic]);
    }
    return wait.promise;
  }

  subscribe(pattern: string, options: SubscribeOptions = {}): Subscription<M> {
    const { slowConsumer = 'drop-oldest', maxPending = MAX_PENDING, group } = options;
    if (!policies.includes(slowConsumer)) {
      throw invalid('slowConsumer', `is none of ${policies.join(', ')}`);
    }
    if (!Number.isInteger(maxPending) || maxPending < 1 || maxPending > MAX_PENDING_MOST) {
      throw invalid('maxPending', `has to be a whole number from 1 to ${MAX_PENDING_MOST}`);
    }
    const wanted: NativeSubscription = { pattern, slowConsumer, maxPending };
    if (group !== undefined) wanted.group = group;
    setStart(wanted, options.start);
    try {
      this.#port.check(wanted);
    } catch (error) {
      throw topicsError(error);
    }
    return new TopicSubscription<M>(this.#port, this.#type.typeName, wanted, this.#subscribers);
  }

  close(error?: unknown): void {
    if (this.#subscribers.closed !== undefined) return;
    this.#subscribers.closed = { error };
    try {
      // Dead letters may still be published.
      for (const close of this.#closing) close();
    } finally {
      try {
        for (const subscription of [...this.#subscribers.running]) subscription.end(error);
      } finally {
        this.#shut();
      }
    }
  }

  #shut(): void {
    this.#known.clear();
    const waits = [...this.#waits.values()];
    this.#waits.clear();
    this.#port.shut();
    for (const { resolve } of waits) resolve();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  stats(): TopicsStats {
    if (this.#port.isClosed) throw closed(this.name);
    const now = performance.now();
    let blockedMs = this.#blockedMs;
    for (const { since } of this.#waits.values()) blockedMs += now - since;
    return {
      ...(JSON.parse(this.#port.stats()) as Omit<TopicsStats, 'blockedMs' | 'topicsForgotten'>),
      topicsForgotten: this.#forgotten,
      blockedMs: Math.round(blockedMs),
    };
  }

  #add(topic: string): KnownTopic {
    if (this.#port.isClosed) throw closed(this.name);
    // Those that are still in use are found anew; but not while a message is encoded for one of them.
    if (this.#known.size >= this.#topicsMax && !this.#port.isEncoding) {
      this.#forgotten += this.#known.size;
      this.#known.clear();
      this.#port.forget();
    }
    let known: KnownTopic;
    try {
      known = this.#port.topic(topic);
    } catch (error) {
      throw topicsError(error);
    }
    this.#known.set(topic, known);
    return known;
  }

  /** Sees to it that no subscriber holds up its topics for too long, also one whose thread is busy or dead. */
  #judge(topics: Iterable<string>): void {
    let afterMs = Number.POSITIVE_INFINITY;
    for (const topic of topics) {
      const known = this.#known.get(topic) ?? this.#add(topic);
      const again = this.#port.native.judge(known.number);
      if (again >= 0) afterMs = Math.min(afterMs, again);
    }
    if (this.#judging || afterMs === Number.POSITIVE_INFINITY) return;
    this.#judging = true;
    const timer = setTimeout(() => {
      this.#judging = false;
      this.#judge(this.#waits.keys());
    }, afterMs);
    timer.unref();
  }

  /** Some subscriber holds up its topics no longer. */
  #wake(): void {
    for (const [topic, { resolve, since }] of this.#waits) {
      const known = this.#known.get(topic) ?? this.#add(topic);
      if (!this.#port.isWritable(known)) continue;
      this.#waits.delete(topic);
      this.#blockedMs += performance.now() - since;
      resolve();
    }
    // Who had room a moment ago may hold up those that go on waiting, with no timer running.
    if (this.#waits.size > 0) this.#judge(this.#waits.keys());
  }
}

function open(options: ReturnType<typeof checkTopicsOptions>): TopicsPort {
  try {
    return new TopicsPort(options);
  } catch (error) {
    if (codeOf(error) !== 'MILLRACE_TOPICS_CONFLICT') throw error;
    throw new MillraceError('MILLRACE_TOPICS_CONFLICT', (error as Error).message, { cause: error });
  }
}

function closed(name: string): MillraceError {
  return new MillraceError('MILLRACE_TOPICS_CLOSED', `the topics "${name}" are closed`);
}

/** The code of an error, if it has one. */
export function codeOf(error: unknown): unknown {
  return (error as { readonly code?: unknown } | null | undefined)?.code;
}

/** What native code says of a topic or subscription, for the peer. */
export function topicsError(error: unknown): unknown {
  const { message } = error as Error;
  switch (codeOf(error)) {
    case 'MILLRACE_TOPIC_ILLEGAL':
      return invalid('topic', message);
    case 'MILLRACE_PATTERN_ILLEGAL':
      return invalid('pattern', message);
    case 'MILLRACE_GROUP_ILLEGAL':
      return invalid('group', message);
    case 'MILLRACE_TOPICS_NOT_RETAINED':
      return new StatusError(Status.FAILED_PRECONDITION, `start: ${message}`);
    case 'MILLRACE_START_OUT_OF_RANGE':
      return new StatusError(Status.OUT_OF_RANGE, `start: ${message}`);
    case 'MILLRACE_SUBSCRIPTIONS_FULL':
      return new StatusError(Status.RESOURCE_EXHAUSTED, message);
    case 'MILLRACE_TOPICS_CLOSED':
      return new MillraceError('MILLRACE_TOPICS_CLOSED');
    default:
      return error;
  }
}

/** @throws StatusError INVALID_ARGUMENT */
function setStart(wanted: NativeSubscription, start: Start | undefined): void {
  if (start === undefined || start === 'latest') return;
  if (wanted.group !== undefined) {
    throw invalid(
      'start',
      'does not go together with a queue group, whose members share what comes',
    );
  }
  if (start === 'earliest') {
    wanted.start = start;
  } else if ('sequence' in start) {
    if (typeof start.sequence !== 'bigint' || start.sequence < 0n || start.sequence >= 2n ** 64n) {
      throw invalid('start.sequence', 'has to be a bigint from 0 to 2^64 - 1');
    }
    wanted.start = 'sequence';
    wanted.startAt = start.sequence;
  } else {
    if (!Number.isFinite(start.time) || start.time < 0) {
      throw invalid('start.time', 'has to be milliseconds since 1970');
    }
    wanted.start = 'time';
    wanted.startAt = BigInt(Math.floor(start.time));
  }
}

function invalid(field: string, description: string): StatusError {
  return new StatusError(Status.INVALID_ARGUMENT, `${field}: ${description}`, {
    details: [badRequest([{ field, description }])],
  });
}

function tooLarge(typeName: string, length: number): StatusError {
  const most = limitTable.sendMessageBytes.default;
  return new StatusError(
    Status.RESOURCE_EXHAUSTED,
    `the event has ${length} bytes, more than the limit of ${most} bytes`,
    {
      cause: new MillraceError(
        'MILLRACE_MESSAGE_TOO_LARGE',
        `a ${typeName} of ${length} bytes is larger than events may be (${most})`,
      ),
    },
  );
}
