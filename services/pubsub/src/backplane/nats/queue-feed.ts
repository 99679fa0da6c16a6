// A queue group of Subscribe over all processes: NATS gives each event to one of them, and the local queue
// group gives it to one member.

import type { ConsumerConfig } from '@nats-io/jetstream';
import type { Msg, Subscription } from '@nats-io/transport-node';
import type { LocalTopics, Start } from '../backplane.js';
import { deliveryOf } from './acknowledgement.js';
import type { Follower } from './broker.js';
import type { Decoder } from './decode.js';
import { deliverFrom } from './place.js';
import { ApiCode, messageOf, type Session } from './session.js';
import { queueName } from './subjects.js';

const NANOSECONDS = 1_000_000;
/** The server forgets where a group was when no member was there for so long. */
const FORGOTTEN_AFTER_MS = 300_000;
const QUEUE = 'members';

/** Counters of all queue groups. */
export interface QueueCounters {
  events: number;
}

export class QueueFeed implements Follower {
  readonly #group: string;
  readonly #pattern: string;
  readonly #name: string;
  readonly #events: LocalTopics;
  readonly #decoder: Decoder;
  readonly #counters: QueueCounters;
  /** Of which stream it has been a member. */
  #stream: string | undefined;
  #session: Session | undefined;
  #opening: Promise<void> | undefined;
  #subscriptions: Subscription[] = [];
  users = 0;

  constructor(
    group: string,
    pattern: string,
    events: LocalTopics,
    decoder: Decoder,
    counters: QueueCounters,
  ) {
    this.#group = group;
    this.#pattern = pattern;
    this.#name = queueName(group, pattern);
    this.#events = events;
    this.#decoder = decoder;
    this.#counters = counters;
  }

  /** Settles when this process is one of those that get the group's events. */
  running(session: Session, start: Start | undefined): Promise<void> {
    if (session !== this.#session) this.#opening = undefined;
    this.#session = session;
    this.#opening ??= this.#open(session, start);
    return this.#opening;
  }

  begin(session: Session): void {
    if (this.users === 0) return;
    this.running(session, undefined).catch((error: unknown) => {
      if (!session.over) session.fail(messageOf(error));
    });
  }

  end(): void {
    this.#opening = undefined;
    this.#session = undefined;
    this.#subscriptions = [];
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    this.end();
  }

  async #open(session: Session, start: Start | undefined): Promise<void> {
    const { names, created } = session;
    // Of another stream than before nothing has been seen.
    const replaced = this.#stream !== undefined && this.#stream !== created;
    this.#stream = created;
    const wanted: Partial<ConsumerConfig> = {
      durable_name: this.#name,
      deliver_subject: names.queue(this.#name),
      deliver_group: QUEUE,
      ack_policy: 'none',
      ...deliverFrom(replaced ? 'earliest' : start),
      ...names.filter(this.#pattern),
      inactive_threshold: FORGOTTEN_AFTER_MS * NANOSECONDS,
    };
    try {
      await session.ask((manager) => manager.consumers.info(names.stream, this.#name));
    } catch (error) {
      if (session.codeOf(error) !== ApiCode.CONSUMER_NOT_FOUND) throw error;
      try {
        await session.ask((manager) => manager.consumers.add(names.stream, wanted));
      } catch (failure) {
        if (session.codeOf(failure) === undefined) throw failure;
        // Another process may have been faster, with another start.
        await session.ask((manager) => manager.consumers.info(names.stream, this.#name));
      }
    }
    const queue = `${QUEUE}_${this.#group}`;
    this.#subscriptions = [
      session.subscribe(names.queue(this.#name), (message) => this.#receive(message), QUEUE),
      session.subscribe(names.transient(this.#pattern), (message) => this.#receive(message), queue),
    ];
    await session.flush();
  }

  #receive(message: Msg): void {
    this.#counters.events++;
    const event = this.#decoder.decode(message);
    if (event === undefined) return;
    const delivery = deliveryOf(message.reply);
    // Nothing is kept for a replay, so that the event brings its sequence itself.
    if (delivery !== undefined) event.sequence = BigInt(delivery.sequence);
    try {
      this.#events.publish(event.topic, event, { retain: false });
    } catch (error) {
      this.#decoder.leaveOut(message, error);
    }
  }
}
