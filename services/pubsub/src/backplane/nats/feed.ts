// What is published anywhere in the space, brought to the subscribers of this thread: by one consumer for
// all of them, so that each sees the order of the stream, whichever patterns an event is found by.

import type { Msg, Subscription } from '@nats-io/transport-node';
import { fromBinary } from 'millrace/codec';
import { Event } from '../../gen/millrace/pubsub/v1/pubsub.js';
import type { LocalTopics, Logger } from '../backplane.js';
import { deliveryOf } from './acknowledgement.js';
import type { Follower } from './broker.js';
import { messageOf, type Session } from './session.js';
import type { Names } from './subjects.js';

const HEARTBEAT_MS = 5000;
/** Silence for longer: the consumer is gone, or the server does not know it any more. */
const SILENCE_MOST_MS = 2.5 * HEARTBEAT_MS;
const CHECK_EVERY_MS = 250;
/** The server forgets a consumer whose reader is away for so long. */
const FORGOTTEN_AFTER_MS = 30_000;
/** After the last subscriber the feed goes on for so long: the next may come soon. */
const LINGER_MS = 5000;
/** For how long a publisher waits to be told how many subscriptions its event went to. */
const DELIVERED_WAIT_MS = 1000;
/** Events whose number of deliveries is remembered: it may be asked for after they have passed. */
const REMEMBERED = 8192;
const NANOSECONDS = 1_000_000;

/** Counters of {@link Feed}. */
export interface FeedCounters {
  events: number;
  transientEvents: number;
  /** How often it went on from its last sequence after an interruption. */
  resumed: number;
  /** Sequences that the stream no longer had when it went on. */
  missed: number;
  /** Messages that hold no event: published by something else. */
  foreign: number;
}

export class Feed implements Follower {
  readonly counters: FeedCounters = {
    events: 0,
    transientEvents: 0,
    resumed: 0,
    missed: 0,
    foreign: 0,
  };
  readonly #names: Names;
  readonly #events: LocalTopics;
  readonly #logger: Logger;
  #session: Session | undefined;
  #users = 0;
  #linger: NodeJS.Timeout | undefined;
  readonly #timer: NodeJS.Timeout;
  #opening: Promise<void> | undefined;
  #subscriptions: Subscription[] = [];
  /** Which opening a callback belongs to. */
  #generation = 0;
  #heardAt = 0;
  /** Of the consumer. */
  #consumerSequence = 0;
  /** Everything up to it has been handed on, or was there before the feed. */
  #last: number | undefined;
  readonly #passedSequence = new Float64Array(REMEMBERED);
  readonly #passedDelivered = new Float64Array(REMEMBERED);
  readonly #waiting = new Map<number, Waiting[]>();
  /** Transient events of this thread on their way back to it. */
  readonly #echoes = new Map<string, Waiting>();
  #echo = 0;
  #echoInbox = '';

  constructor(names: Names, events: LocalTopics, logger: Logger) {
    this.#names = names;
    this.#events = events;
    this.#logger = logger;
    this.#timer = setInterval(() => this.#check(), CHECK_EVERY_MS);
    this.#timer.unref();
  }

  /** Everything up to this sequence has been handed to the subscribers. */
  get last(): number {
    return this.#last ?? 0;
  }

  /** Somebody listens; to be released once. */
  use(): void {
    this.#users++;
    clearTimeout(this.#linger);
    this.#linger = undefined;
  }

  release(): void {
    if (--this.#users > 0) return;
    this.#linger = setTimeout(() => this.#stop(), LINGER_MS);
    this.#linger.unref();
  }

  /** Settles when everything that is published from then on is handed on. Rejects if the session ends. */
  running(session: Session): Promise<void> {
    if (session !== this.#session) return Promise.reject(new Error('the session is over'));
    this.#opening ??= this.#open(session);
    return this.#opening;
  }

  begin(session: Session): void {
    this.#session = session;
    if (this.#users > 0) this.#reopen(session);
  }

  end(): void {
    this.#session = undefined;
    this.#drop();
    for (const [id, { done }] of this.#echoes) {
      this.#echoes.delete(id);
      done(0);
    }
  }

  close(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#linger);
    this.#stop();
  }

  /**
   * How many subscriptions of this thread an event went to. It comes back from the server first, which
   * takes no longer than the server's answer as a rule; 0 if it does not come in time.
   */
  delivered(sequence: number): number | Promise<number> {
    if (this.#users === 0 || this.#session === undefined) return 0;
    if (sequence <= this.last) {
      const slot = sequence % REMEMBERED;
      return this.#passedSequence[slot] === sequence ? this.#passedDelivered[slot]! : 0;
    }
    return this.#passing(sequence);
  }

  /** Settles when an event has been handed on, or soon after its call is over. */
  async passed(sequence: number, signal: AbortSignal): Promise<void> {
    while (this.last < sequence && !signal.aborted) await this.#passing(sequence);
  }

  /** Publishes a transient event; as {@link delivered}. */
  publishTransient(session: Session, topic: string, data: Uint8Array): number | Promise<number> {
    const subject = this.#names.transient(topic);
    if (this.#users === 0 || this.#subscriptions.length === 0) {
      session.publish(subject, data);
      return 0;
    }
    const reply = `${this.#echoInbox}.${++this.#echo}`;
    session.publish(subject, data, { reply });
    return new Promise((done) => {
      this.#echoes.set(reply, { done, since: performance.now() });
    });
  }

  async #open(session: Session): Promise<void> {
    const generation = ++this.#generation;
    const { state, config } = await session.stream();
    if (generation !== this.#generation) throw new Error('the feed was opened again');
    this.#place(state.first_seq, state.last_seq);
    const inbox = session.client.createInbox();
    this.#consumerSequence = 0;
    this.#heardAt = performance.now();
    this.#echoInbox = session.client.createInbox();
    this.#subscriptions = [
      session.subscribe(inbox, (message) => {
        if (generation === this.#generation) this.#receive(session, message);
      }),
      session.subscribe(this.#names.allTransient, (message) => {
        if (generation === this.#generation) this.#receiveTransient(message);
      }),
    ];
    await session.ask((manager) =>
      manager.consumers.add(config.name, {
        deliver_subject: inbox,
        ack_policy: 'none',
        deliver_policy: 'by_start_sequence',
        opt_start_seq: this.last + 1,
        flow_control: true,
        idle_heartbeat: HEARTBEAT_MS * NANOSECONDS,
        inactive_threshold: FORGOTTEN_AFTER_MS * NANOSECONDS,
        mem_storage: true,
        num_replicas: 1,
      }),
    );
    // The other subscription has no answer of its own.
    await session.flush();
  }

  /** Where it begins, or goes on. */
  #place(first: number, last: number): void {
    if (this.#last === undefined) {
      this.#last = last;
      return;
    }
    this.counters.resumed++;
    if (last < this.#last) {
      this.#logger.error(
        { stream: this.#names.stream, had: this.#last, has: last },
        'pub/sub: the stream has fewer events than were seen: it was deleted or restored from a copy; going on with what is published from now on',
      );
      this.#last = last;
    } else if (first > this.#last + 1) {
      const missed = first - this.#last - 1;
      this.counters.missed += missed;
      this.#logger.warn(
        { stream: this.#names.stream, missed },
        'pub/sub: events were removed by age before they could be read again',
      );
      this.#last = first - 1;
    }
  }

  #reopen(session: Session): void {
    this.#drop();
    this.#opening = this.#open(session);
    this.#opening.catch((error: unknown) => {
      // The next session tries again.
      if (!session.over && session === this.#session) session.fail(messageOf(error));
    });
  }

  #stop(): void {
    this.#drop();
    this.#last = undefined;
    for (const [sequence, waiting] of this.#waiting) {
      this.#waiting.delete(sequence);
      for (const { done } of waiting) done(0);
    }
  }

  #drop(): void {
    this.#generation++;
    this.#opening = undefined;
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    this.#subscriptions = [];
  }

  #receive(session: Session, message: Msg): void {
    this.#heardAt = performance.now();
    const delivery = deliveryOf(message.reply);
    if (delivery === undefined) {
      this.#control(session, message);
      return;
    }
    if (delivery.consumerSequence !== this.#consumerSequence + 1) {
      this.#reopen(session);
      return;
    }
    this.#consumerSequence++;
    const { sequence } = delivery;
    this.counters.events++;
    const delivered = this.#hand(message, BigInt(sequence));
    this.#last = sequence;
    const slot = sequence % REMEMBERED;
    this.#passedSequence[slot] = sequence;
    this.#passedDelivered[slot] = delivered;
    if (this.#waiting.size === 0) return;
    const waiting = this.#waiting.get(sequence);
    if (waiting === undefined) return;
    this.#waiting.delete(sequence);
    for (const { done } of waiting) done(delivered);
  }

  #receiveTransient(message: Msg): void {
    this.counters.transientEvents++;
    const delivered = this.#hand(message, undefined);
    const { reply } = message;
    if (!reply?.startsWith(this.#echoInbox)) return;
    const echo = this.#echoes.get(reply);
    if (echo === undefined) return;
    this.#echoes.delete(reply);
    echo.done(delivered);
  }

  /** Heartbeats and flow control: ADR-9 and ADR-15 of NATS. */
  #control(session: Session, message: Msg): void {
    const { headers } = message;
    if (headers?.code !== 100) return;
    const stalled = headers.get('Nats-Consumer-Stalled');
    if (stalled !== '') session.publish(stalled, '');
    if (message.reply) {
      message.respond();
      return;
    }
    const last = headers.get('Nats-Last-Consumer');
    if (last !== '' && Number(last) !== this.#consumerSequence) this.#reopen(session);
  }

  #hand(message: Msg, sequence: bigint | undefined): number {
    try {
      const event = fromBinary(Event, message.data);
      const topic = this.#names.topicOf(message.subject);
      event.topic = topic;
      const options = sequence === undefined ? TRANSIENT : { retain: true, sequence };
      return this.#events.publish(topic, event, options).delivered;
    } catch (error) {
      if (this.counters.foreign++ === 0) {
        this.#logger.warn(
          { err: error, subject: message.subject },
          'pub/sub: a message that is no millrace.pubsub.v1.Event was left out; further ones are counted only',
        );
      }
      return 0;
    }
  }

  #passing(sequence: number): Promise<number> {
    return new Promise((done) => {
      const waiting: Waiting = { done, since: performance.now() };
      const others = this.#waiting.get(sequence);
      if (others === undefined) this.#waiting.set(sequence, [waiting]);
      else others.push(waiting);
    });
  }

  #check(): void {
    const now = performance.now();
    for (const [sequence, waiting] of this.#waiting) {
      if (sequence > this.last && now - waiting[0]!.since < DELIVERED_WAIT_MS) continue;
      this.#waiting.delete(sequence);
      for (const { done } of waiting) done(0);
    }
    for (const [id, { done, since }] of this.#echoes) {
      if (now - since < DELIVERED_WAIT_MS) break;
      this.#echoes.delete(id);
      done(0);
    }
    const session = this.#session;
    if (session === undefined || this.#subscriptions.length === 0) return;
    if (now - this.#heardAt > SILENCE_MOST_MS) this.#reopen(session);
  }
}

const TRANSIENT = { retain: false };

interface Waiting {
  done(delivered: number): void;
  readonly since: number;
}
