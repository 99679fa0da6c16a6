// What stands between the service and other processes. The service checks requests, applies its
// policies and speaks gRPC; the backplane gives events their sequence, keeps them, carries them to other
// processes and remembers what a durable group has acknowledged.

import type { Context, StatusError, Topics } from 'millrace';
import type { Event, EventInit } from '../gen/millrace/pubsub/v1/pubsub.js';
import type { SlowPolicy } from '../policies.js';

/** The logger of a server thread, as a handler has it. */
export type Logger = Context['logger'];

/** A value that is there at once where the backplane can say so at once. */
export type Eventually<T> = T | Promise<T>;

/** A way of carrying events: `memory()` or `nats()`. One object may serve several servers and threads. */
export interface Backplane {
  /** For logs, statistics and errors: `memory`, `nats`. */
  readonly name: string;
  /** How much is kept is an option of its own: that of the service is refused beside it. */
  readonly ownRetention?: boolean;
  /**
   * Begins to work in one thread of a server, before it accepts anything. Does not wait: what has to be
   * connected is connected meanwhile, and calls wait for it by their deadline or fail with UNAVAILABLE,
   * saying what is missing.
   */
  open(host: BackplaneHost): BackplaneLink;
}

/** What the service gives a backplane in one thread. */
export interface BackplaneHost {
  /** The name of the space: that of the events in this process, and of the subjects of a broker. */
  readonly space: string;
  /** For what belongs to no call. */
  readonly logger: Logger;
  /** How much is kept for replay in this process. */
  readonly retention: Retention;
  /** For how long a `messageId` is remembered, milliseconds. */
  readonly duplicateWindowMs: number;
  /** Each `messageId` that is remembered, where that is in this process. */
  readonly messageIdsMost: number;
  /** The topics whose events are not kept and have no sequence: exact patterns, as configured. */
  readonly transient: readonly string[];
  /** Whether a topic (not a pattern) is one of these. */
  isTransient(topic: string): boolean;
  /** Whether a subscriber of a topic may have the policy BLOCK: where none may, nobody has to be asked. */
  mayBlock(topic: string): boolean;
  /**
   * Native fan-out to this process's subscribers. The same name gives the same events in every thread
   * of the process; other names are there for feeds of which some subscribers must not see the rest.
   *
   * @param retention what they keep; by default that of the service
   */
  topics(name: string, retention?: Retention): Topics<Event, EventInit>;
}

/** How much is kept for replay; whatever is reached first evicts the oldest. */
export interface Retention {
  /** Events. */
  readonly count: number;
  /** Bytes of all events together, as they are sent. */
  readonly bytes: number;
  /** Milliseconds since an event was published. */
  readonly ageMs: number;
}

/** Native fan-out in this process: the part of the framework's `Topics` that is used here. */
export interface LocalTopics {
  /**
   * Hands an event to the subscriptions that match, on every thread. The event's `dropped` is written
   * natively, and with `retain` its `sequence`; leave them out.
   *
   * @param options `retain`: keep it for replay and give it a sequence, the next one or that given
   */
  publish(
    topic: string,
    event: EventInit,
    options?: { readonly retain?: boolean; readonly sequence?: bigint },
  ): { readonly sequence: bigint; readonly delivered: number };
  /** `true`, or a promise that settles when no blocking subscriber of the topic is at its bound. */
  writable(topic: string): true | Promise<void>;
  /** A subscription, which begins when a handler has returned it. @throws StatusError */
  subscribe(pattern: string, options?: LocalSubscribeOptions): LocalSubscription;
}

/** How to subscribe to local events. */
export interface LocalSubscribeOptions {
  /** What happens when `maxPending` events wait. */
  readonly slowConsumer?: SlowPolicy;
  /** Events that may wait for the subscriber. */
  readonly maxPending?: number;
  /** Each event goes to one member of a group. */
  readonly group?: string;
  /** Absent: with what is published from now on. */
  readonly start?: Start;
}

/** What a handler returns to have events sent natively from then on. */
export interface LocalSubscription {
  /** Settles when the subscription is over, whatever ended it. */
  readonly closed: Promise<unknown>;
  /** Ends the call: with OK, or with the status of an error. */
  end(error?: unknown): void;
}

/** Where a subscription starts. A time is in milliseconds since 1970. */
export type Start =
  | { readonly sequence: bigint }
  | { readonly time: number }
  | 'earliest'
  | 'latest';

/** An event on its way in, checked: its topic is legal, its payload within the limit. */
export interface Publication {
  /** Without `sequence`. */
  readonly event: EventInit & { readonly topic: string };
  /** Empty: no suppression of duplicates. */
  readonly messageId: string;
  /** Not kept, without a sequence. */
  readonly transient: boolean;
}

/** The outcome of a publication, as the publisher is told. */
export interface Published {
  /** 0n on a transient topic. */
  readonly sequence: bigint;
  /** Matching subscriptions of this process; a queue group counts as one. */
  readonly delivered: number;
  /** Nothing was published: `sequence` is that of the first with the same `messageId`. */
  readonly duplicate: boolean;
}

/** What a subscription asks of the backplane. */
export interface InterestOptions {
  /** Legal. */
  readonly pattern: string;
  /** The queue group: over all processes each event goes to one member; empty: none. */
  readonly group: string;
  /** Undefined: with what is published from now on. */
  readonly start: Start | undefined;
  /** The subscriber's policy is `block`: nothing of it may be dropped, and publishers wait for it. */
  readonly blocking: boolean;
}

/** A subscription's claim on the backplane, until it is released. */
export interface Interest {
  /**
   * The local events to subscribe to, by the name they have for {@link BackplaneHost.topics}: those that
   * it says when the replay is over.
   */
  readonly topics: string;
  /** Where the local subscription starts; `undefined`: with what comes next. */
  readonly start: Start | undefined;
  /**
   * What comes before that, oldest first, with `sequence`; absent where everything is kept locally. Its
   * return value replaces `start`, so that nothing is left out in between and nothing comes twice. It
   * may go on for ever.
   * Returned early (`return()`) when the call is over.
   */
  readonly replay?: AsyncGenerator<EventInit, Start | undefined, void> | undefined;
  /** The subscription is over. Called once. */
  release(): void;
}

/** What a durable group's member asks for. */
export interface ConsumeOptions {
  /** Legal. */
  readonly pattern: string;
  /** The durable name of the group. */
  readonly group: string;
  /** Where a group begins that does not exist yet; `undefined`: with what is published from now on. */
  readonly start: Start | undefined;
  /** An event that is not acknowledged for so long is delivered again. */
  readonly ackWaitMs: number;
  /** 0: without a limit. */
  readonly maxDeliveries: number;
  /** Deliveries that this member may have without acknowledging them; more wait. */
  readonly maxUnacknowledged: number;
  /** Empty: events that were delivered so often are given up, and counted. */
  readonly deadLetterTopic: string;
}

/** The member of a durable group on the side of the service. */
export interface Member {
  /**
   * Takes one delivery; never more than were requested. The attempt counts from 1 over all members of
   * the group.
   */
  deliver(event: EventInit | Event, sequence: bigint, attempt: number): void;
  /** The backplane cannot go on: the call ends with this. Nothing is called afterwards. */
  failed(error: StatusError): void;
}

/** The member of a durable group on the side of the backplane. */
export interface Membership {
  /**
   * Asks for so many deliveries in addition to those that were requested before. None is made from
   * within this call.
   */
  request(count: number): void;
  /** An event is done with. `false`: it is not this member's, or no longer. */
  acknowledge(sequence: bigint): boolean;
  /** An event is to be delivered again at once, to any member. `false` as above. */
  reject(sequence: bigint): boolean;
  /** The member leaves: what it has not acknowledged is delivered to others at once. Called once. */
  leave(): void;
}

/**
 * A backplane in one thread.
 *
 * What throws or rejects does so with a StatusError that names the field, if it is the request's fault,
 * and the remedy: UNAVAILABLE while a broker cannot be reached, RESOURCE_EXHAUSTED with a RetryInfo where
 * it is full, OUT_OF_RANGE for a start that is no longer kept, FAILED_PRECONDITION for what this
 * backplane does not have.
 */
export interface BackplaneLink {
  /**
   * Publishes. Publications of one caller keep their order, however many are under way: the caller does
   * not wait for one before the next, and awaits outcomes in the same order.
   *
   * @param signal gives the signal of the call, when it is asked for; made then, so ask only to wait
   */
  publish(publication: Publication, signal: () => AbortSignal): Eventually<Published>;
  /**
   * Before each publication: `true`, or a promise that settles when publishers of that topic may go on,
   * which is when no subscriber under BLOCK is at its bound. Never rejects.
   */
  writable(topic: string): true | Promise<void>;
  /**
   * Registers a subscription with the backplane. Once it is there, everything that is published anywhere
   * reaches the local events (or the replay).
   */
  interest(options: InterestOptions, signal: () => AbortSignal): Eventually<Interest>;
  /** Joins a durable group, and creates it when it does not exist yet. */
  consume(
    options: ConsumeOptions,
    member: Member,
    signal: () => AbortSignal,
  ): Eventually<Membership>;
  /** Counters and levels of this thread, by names in camelCase. */
  stats(): Readonly<Record<string, number>>;
  /** The server is closed: no call is left. Gives back connections and timers; awaited for some seconds. */
  close(): Eventually<void>;
}
