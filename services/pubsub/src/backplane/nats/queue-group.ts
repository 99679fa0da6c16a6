// A queue group of Subscribe over all processes: each event goes to one member whose pattern matches, be it
// that of several.
//
// One thread of one process reads the stream for the group, and publishes what it reads, in order, to
// subjects of the group by core NATS, whose own queue groups choose one of the matching subscriptions: those
// with one pattern of the group in one thread. nats-server says who reads: it lets nobody take the group's
// consumer over from somebody who is still there.

import { setTimeout as delay } from 'node:timers/promises';
import type { ConsumerConfig, ConsumerInfo } from '@nats-io/jetstream';
import type { Msg, Subscription } from '@nats-io/transport-node';
import type { LocalTopics, Start } from '../backplane.js';
import { deliveryOf } from './acknowledgement.js';
import type { Follower } from './broker.js';
import { answerControl } from './control.js';
import type { Decoder } from './decode.js';
import { deliverFrom } from './place.js';
import { ApiCode, messageOf, type Session } from './session.js';
import { queueName } from './subjects.js';

const NANOSECONDS = 1_000_000;
const HEARTBEAT_MS = 5000;
/** The server forgets where a group was when no member was there for so long. */
const FORGOTTEN_AFTER_MS = 300_000;
/** Each thread looks so often whether somebody reads for the group. */
const LOOK_EVERY_MS = 1000;
/**
 * Who has just connected leaves reading to who has read before, for so long: after a loss of NATS that one may
 * be back a moment later, and knows where the group was, which a server that was killed may have forgotten.
 */
const LEFT_TO_FORMER_MS = 1000;
const LOOK_AGAIN_MS = 50;
/** The queue of core NATS that a group's subscriptions form. */
const QUEUE = 'members';
/** What is passed on has its sequence for a reply subject, which costs less than headers. */
const SEQUENCE = /^[1-9][0-9]*$/;

/** Counters of all queue groups. */
export interface QueueCounters {
  /** Events that came to members of this thread. */
  events: number;
  /** Events that this thread has read for a group, and passed on to whoever has them. */
  passedOn: number;
}

/** The members in this thread that have one pattern. */
interface Matching {
  readonly local: LocalTopics;
  users: number;
  subscriptions: Subscription[];
}

export class QueueGroup implements Follower {
  readonly #group: string;
  readonly #name: string;
  readonly #decoder: Decoder;
  readonly #counters: QueueCounters;
  readonly #patterns = new Map<string, Matching>();
  readonly #timer: NodeJS.Timeout;
  #session: Session | undefined;
  /** Where this thread would be sent the group's events, and is if it reads. */
  #inbox = '';
  #subscription: Subscription | undefined;
  /** To what is said when somebody stops reading. */
  #notes: Subscription | undefined;
  #looking: Promise<void> | undefined;
  /** Of which stream it has been a group. */
  #stream: string | undefined;
  /** The highest sequence of that stream that was passed on, as far as it is known here. */
  #highest = 0;
  /** Whether this thread has read in this session, or the last one. */
  #reads = false;

  constructor(group: string, decoder: Decoder, counters: QueueCounters) {
    this.#group = group;
    this.#name = queueName(group);
    this.#decoder = decoder;
    this.#counters = counters;
    this.#timer = setInterval(() => this.#check(), LOOK_EVERY_MS);
    this.#timer.unref();
  }

  /** One more member; to be followed by {@link running}, and by {@link leave} in the end. */
  enter(pattern: string, local: LocalTopics): void {
    let matching = this.#patterns.get(pattern);
    if (matching === undefined) {
      matching = { local, users: 0, subscriptions: [] };
      this.#patterns.set(pattern, matching);
    }
    matching.users++;
  }

  /** Settles when this thread is one of those that get the group's events of a pattern. */
  async running(session: Session, pattern: string, start: Start | undefined): Promise<void> {
    this.#connect(session);
    const matching = this.#patterns.get(pattern)!;
    if (matching.subscriptions.length === 0) this.#subscribe(session, pattern, matching);
    // What is passed on from now on comes here, whoever reads.
    await session.flush();
    await this.#look(session, start);
  }

  /** One member less. Whether one is left. */
  leave(pattern: string): boolean {
    const matching = this.#patterns.get(pattern);
    if (matching !== undefined && --matching.users === 0) {
      for (const subscription of matching.subscriptions) subscription.unsubscribe();
      this.#patterns.delete(pattern);
    }
    return this.#patterns.size > 0;
  }

  begin(session: Session): void {
    if (this.#patterns.size === 0) return;
    this.#connect(session);
    for (const [pattern, matching] of this.#patterns) this.#subscribe(session, pattern, matching);
    this.#check();
  }

  end(): void {
    this.#session = undefined;
    this.#looking = undefined;
    this.#subscription = undefined;
    this.#notes = undefined;
    for (const matching of this.#patterns.values()) matching.subscriptions = [];
  }

  /** Settles when somebody else can go on reading. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const { subscriptions } of this.#patterns.values()) {
      for (const subscription of subscriptions) subscription.unsubscribe();
    }
    this.#notes?.unsubscribe();
    const [session, subscription, reads] = [this.#session, this.#subscription, this.#reads];
    this.end();
    if (session === undefined || subscription === undefined) return;
    try {
      // What is on its way is passed on.
      await subscription.drain();
      if (reads) await this.#handOver(session);
    } catch {
      // The session is over. Who takes over goes on where the server thinks that this thread was.
    }
  }

  /** Between the end of a subscription and its notice the server sends events to nobody: not for the next reader. */
  async #handOver(session: Session): Promise<void> {
    const { names, client } = session;
    const { config, delivered, push_bound } = await session.ask((manager) =>
      manager.consumers.info(names.stream, this.#name),
    );
    if (push_bound === true) return;
    if (delivered.stream_seq > this.#highest && this.#highest > 0) {
      const start = { sequence: BigInt(this.#highest + 1) };
      await session.ask((manager) => manager.consumers.delete(names.stream, this.#name));
      const again = { ...config, ...deliverFrom(start), deliver_subject: client.createInbox() };
      await session.ask((manager) => manager.consumers.add(names.stream, again));
    }
    session.publish(names.queueReader(this.#group), '');
  }

  /** From now on it is there, whether it reads or not. */
  #connect(session: Session): void {
    if (session === this.#session) return;
    this.#session = session;
    this.#looking = undefined;
    this.#inbox = session.client.createInbox();
    this.#subscription = undefined;
    const subject = session.names.queueReader(this.#group);
    this.#notes = session.subscribe(subject, () => this.#check());
  }

  #subscribe(session: Session, pattern: string, matching: Matching): void {
    const { names } = session;
    const stored = names.queue(this.#group, pattern);
    // Transient events come from their publishers. The queue is that of the group alone.
    const transient = names.transient(pattern);
    const receive = (subject: string) => (message: Msg) => {
      this.#receive(message, subject, matching);
    };
    matching.subscriptions = [
      session.subscribe(stored, receive(names.queue(this.#group, '')), QUEUE),
      session.subscribe(transient, receive(names.transient('')), `${QUEUE}_${this.#group}`),
    ];
  }

  #receive(message: Msg, before: string, { local }: Matching): void {
    this.#counters.events++;
    const event = this.#decoder.decode(message, message.subject.slice(before.length));
    if (event === undefined) return;
    // Nothing is kept for a replay, so that the event brings its sequence itself.
    if (message.reply && SEQUENCE.test(message.reply)) {
      event.sequence = BigInt(message.reply);
      this.#highest = Math.max(this.#highest, Number(message.reply));
    }
    try {
      local.publish(event.topic, event, { retain: false });
    } catch (error) {
      this.#decoder.leaveOut(message, error);
    }
  }

  // --- who reads ---

  #check(): void {
    const session = this.#session;
    if (session === undefined || this.#patterns.size === 0) return;
    this.#look(session, undefined).catch((error: unknown) => this.#trouble(session, error));
  }

  #trouble(session: Session, error: unknown): void {
    if (session.over || session !== this.#session) return;
    // What JetStream refuses now it may take at the next look.
    if (session.codeOf(error) === undefined) session.fail(messageOf(error));
  }

  /** Settles when somebody reads for the group: this thread, if nobody else does. */
  #look(session: Session, start: Start | undefined): Promise<void> {
    this.#looking ??= this.#provideReader(session, start).finally(() => {
      if (session === this.#session) this.#looking = undefined;
    });
    return this.#looking;
  }

  async #provideReader(session: Session, start: Start | undefined): Promise<void> {
    const { names, created } = session;
    let found: ConsumerConfig | undefined;
    for (;;) {
      const info = await this.#consumer(session);
      if (info?.push_bound === true) {
        // By another one, or by this thread.
        this.#reads = info.config.deliver_subject === this.#inbox;
        this.#of(created);
        return;
      }
      found = info?.config;
      const left = session.since + LEFT_TO_FORMER_MS - performance.now();
      if (found === undefined || this.#reads || left <= 0) break;
      await delay(LOOK_AGAIN_MS, undefined, { ref: false });
    }
    // Of another stream than before nothing has been seen.
    const replaced = this.#stream !== undefined && this.#stream !== created;
    const wanted: Partial<ConsumerConfig> = found ?? {
      durable_name: this.#name,
      ack_policy: 'none',
      ...deliverFrom(replaced ? 'earliest' : start),
      flow_control: true,
      idle_heartbeat: HEARTBEAT_MS * NANOSECONDS,
      inactive_threshold: FORGOTTEN_AFTER_MS * NANOSECONDS,
    };
    const { state } = await session.stream();
    this.#of(created);
    // A copy from the past; or a group that begins anew, wherever it is told to.
    if (state.last_seq < this.#highest || found === undefined) this.#highest = 0;
    const inbox = this.#inbox;
    this.#subscription ??= session.subscribe(inbox, (message) => this.#passOn(session, message));
    // The server takes it for somebody who is there.
    await session.flush();
    try {
      await session.ask((manager) =>
        manager.consumers.add(names.stream, { ...wanted, deliver_subject: inbox }),
      );
    } catch (error) {
      if (session.codeOf(error) === undefined) throw error;
      // Another one was faster, with another start perhaps.
      const info = await this.#consumer(session);
      if (info?.push_bound !== true) throw error;
      this.#reads = false;
      this.#of(created);
      return;
    }
    this.#reads = true;
  }

  /** The group's consumer, if there is one. */
  async #consumer(session: Session): Promise<ConsumerInfo | undefined> {
    try {
      const { stream } = session.names;
      return await session.ask((manager) => manager.consumers.info(stream, this.#name));
    } catch (error) {
      if (session.codeOf(error) === ApiCode.CONSUMER_NOT_FOUND) return undefined;
      throw error;
    }
  }

  #of(stream: string): void {
    if (stream !== this.#stream) this.#highest = 0;
    this.#stream = stream;
  }

  /** What this thread has read for the group goes to whoever it matches. */
  #passOn(session: Session, message: Msg): void {
    const { names } = session;
    const delivery = deliveryOf(message.reply);
    if (delivery !== undefined) {
      if (delivery.sequence <= this.#highest) return;
      this.#highest = delivery.sequence;
      this.#counters.passedOn++;
      const subject = names.queue(this.#group, names.topicOf(message.subject));
      session.publish(subject, message.data, { reply: String(delivery.sequence) });
      return;
    }
    answerControl(session, message);
  }
}
