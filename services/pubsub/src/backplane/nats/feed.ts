// What is published anywhere in the space, brought to the subscribers of this thread: by one consumer for
// all of them, so that each sees the order of the stream, whichever patterns an event is found by.

import type { Msg, Subscription } from '@nats-io/transport-node';
import type { Logger } from '../backplane.js';
import { deliveryOf } from './acknowledgement.js';
import type { Broker, Follower } from './broker.js';
import { answerControl } from './control.js';
import type { Decoder } from './decode.js';
import type { LocalEvents } from './local-events.js';
import { deliverFrom, Place } from './place.js';
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
}

/** What the feed needs of the link. */
export interface FeedHost {
  readonly broker: Broker;
  readonly names: Names;
  readonly decoder: Decoder;
  readonly local: LocalEvents;
  readonly logger: Logger;
}

export class Feed implements Follower {
  readonly counters: FeedCounters = {
    events: 0,
    transientEvents: 0,
    resumed: 0,
    missed: 0,
  };
  readonly #host: FeedHost;
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
  #last = 0;
  /** Where it goes on; `undefined` before anybody has listened. */
  #place: Place | undefined;
  readonly #passedSequence = new Float64Array(REMEMBERED);
  readonly #passedDelivered = new Float64Array(REMEMBERED);
  readonly #waiting = new Map<number, Waiting[]>();
  /** Transient events of this thread on their way back to it. */
  readonly #echoes = new Map<string, Waiting>();
  #echo = 0;
  #echoInbox = '';

  constructor(host: FeedHost) {
    this.#host = host;
    this.#timer = setInterval(() => this.#check(), CHECK_EVERY_MS);
    this.#timer.unref();
  }

  /** Everything up to this sequence has been handed to the subscribers. */
  get last(): number {
    return this.#last;
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
  async running(session: Session): Promise<void> {
    for (;;) {
      if (session !== this.#session) throw new Error('the session is over');
      this.#opening ??= this.#open(session);
      const opening = this.#opening;
      try {
        await opening;
      } catch (error) {
        // Who comes next asks again: the server may take it then.
        if (opening === this.#opening) this.#drop();
        throw error;
      }
      // Unless it was opened again meanwhile.
      if (opening === this.#opening) return;
    }
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
    const subject = this.#host.names.transient(topic);
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
    const { broker, names, local, logger } = this.#host;
    const stream = await session.stream();
    if (generation !== this.#generation) return;
    const { state, created } = stream;
    if (this.#place === undefined) {
      this.#place = new Place(created, { sequence: BigInt(state.last_seq + 1) });
      this.#last = state.last_seq;
    } else {
      this.counters.resumed++;
      const { replaced, missed } = this.#place.find(stream);
      if (replaced) {
        broker.replaced(session);
        // Of the sequences there none is known to be handed on.
        this.#last = 0;
      } else if (missed > 0) {
        this.counters.missed += missed;
        this.#last = state.first_seq - 1;
        logger.warn(
          { stream: names.stream, missed },
          'pub/sub: events were removed by age before they could be read again',
        );
      }
    }
    local.begin(stream);
    const inbox = session.client.createInbox();
    this.#consumerSequence = 0;
    this.#heardAt = performance.now();
    this.#echoInbox = session.client.createInbox();
    this.#subscriptions = [
      session.subscribe(inbox, (message) => {
        if (generation === this.#generation) this.#receive(session, message);
      }),
      session.subscribe(names.allTransient, (message) => {
        if (generation === this.#generation) this.#receiveTransient(message);
      }),
    ];
    const { delivered } = await session.ask((manager) =>
      manager.consumers.add(names.stream, {
        deliver_subject: inbox,
        ack_policy: 'none',
        ...deliverFrom(this.#place?.start),
        flow_control: true,
        idle_heartbeat: HEARTBEAT_MS * NANOSECONDS,
        inactive_threshold: FORGOTTEN_AFTER_MS * NANOSECONDS,
        mem_storage: true,
        num_replicas: 1,
      }),
    );
    // What it begins behind, where that was given as a time.
    if (generation === this.#generation) this.#last = Math.max(this.#last, delivered.stream_seq);
    // The other subscription has no answer of its own.
    await session.flush();
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
    this.#place = undefined;
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
      const last = answerControl(session, message);
      if (last !== undefined && last !== this.#consumerSequence) this.#reopen(session);
      return;
    }
    if (delivery.consumerSequence !== this.#consumerSequence + 1) {
      this.#reopen(session);
      return;
    }
    this.#consumerSequence++;
    const { sequence } = delivery;
    this.counters.events++;
    const delivered = this.#hand(message, sequence);
    this.#last = sequence;
    this.#place?.read(delivery);
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

  #hand(message: Msg, sequence: number | undefined): number {
    const { decoder, local } = this.#host;
    const event = decoder.decode(message);
    if (event === undefined) return 0;
    try {
      return local.publish(event.topic, event, sequence);
    } catch (error) {
      decoder.leaveOut(message, error);
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

interface Waiting {
  done(delivered: number): void;
  readonly since: number;
}
