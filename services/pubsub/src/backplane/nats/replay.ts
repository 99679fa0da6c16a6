// What a subscription gets before the live events: read from the stream until the feed is reached.

import { setTimeout as delay } from 'node:timers/promises';
import type { Msg } from '@nats-io/transport-node';
import { Status, StatusError } from 'millrace';
import type { EventInit } from '../../gen/millrace/pubsub/v1/pubsub.js';
import { covers } from '../../patterns.js';
import { refusal } from '../../refusals.js';
import { unlessAborted } from '../../unless-aborted.js';
import type { Logger, Start } from '../backplane.js';
import { type Delivery, deliveryOf } from './acknowledgement.js';
import type { Broker } from './broker.js';
import type { Decoder } from './decode.js';
import type { Feed } from './feed.js';
import type { Claim } from './local-events.js';
import { deliverFrom, type Place } from './place.js';
import { messageOf, type Session } from './session.js';

const BATCH_FIRST = 16;
const BATCH_MOST = 256;
const BATCH_BYTES = 2 ** 20;
const ANSWER_MS = 5000;
/** For how long a reader that has everything waits for more before it asks again. */
const WAIT_MS = 20_000;
/** Who has taken longer for the last events of a replay looks for more before it goes over to the live ones. */
const HAND_OVER_MS = 1000;
const HEARTBEAT_MS = 2000;
/** The server forgets the consumer of a reader that is away, or does not read, for so long. */
const FORGOTTEN_AFTER_MS = 60_000;
/** A consumer that was forgotten is made anew after that. */
const AGAIN_MS = 50;
const NANOSECONDS = 1_000_000;
/** Of a request that waits; the heartbeats say that its consumer is still there. */
const WAITING = {
  expires: WAIT_MS * NANOSECONDS,
  idle_heartbeat: HEARTBEAT_MS * NANOSECONDS,
};

/** @throws StatusError OUT_OF_RANGE where the stream does not have what a replay begins with */
export async function checkStart(session: Session, start: Start | undefined): Promise<void> {
  if (start === undefined || typeof start === 'string') return;
  const { state, config } = await session.stream();
  if ('sequence' in start) {
    const next = BigInt(state.last_seq) + 1n;
    if (start.sequence > next) {
      throw refusal(
        Status.OUT_OF_RANGE,
        'start.sequence',
        `${start.sequence} is beyond the next one, ${next}; the stream has been made anew, or it is of another space: start with ${next}, or with the earliest`,
      );
    }
  }
  if (state.first_seq <= 1) return;
  const remedy = `start with ${state.first_seq}, or with the earliest`;
  if ('sequence' in start) {
    if (start.sequence >= BigInt(state.first_seq)) return;
    throw refusal(
      Status.OUT_OF_RANGE,
      'start.sequence',
      `${start.sequence} is not kept any more, the first that is has ${state.first_seq}; ${remedy}`,
    );
  }
  // Events leave a stream that refuses new ones when it is full by their age alone.
  const oldest = Date.now() - config.max_age / NANOSECONDS;
  if (config.max_age === 0 || start.time >= oldest) return;
  throw refusal(
    Status.OUT_OF_RANGE,
    'start.time',
    `events are kept for ${config.max_age / NANOSECONDS / 1000} s, and this is earlier; ${remedy}`,
  );
}

/** The server has forgotten the consumer: its reader was away, or did not read, for too long. Another one helps. */
class Forgotten extends Error {}

/** What readers need of the link. */
export interface ReaderHost {
  readonly broker: Broker;
  readonly decoder: Decoder;
  readonly logger: Logger;
  /** Sequences were removed before a reader had got to them. */
  missed(count: number): void;
}

/** What one subscription reads, and how far it has got. */
export interface Reading {
  readonly pattern: string;
  readonly place: Place;
  readonly signal: () => AbortSignal;
}

/**
 * Events from a place on, one after the other as they are asked for, until what follows is in the local
 * events, which the claim is moved on to; returns where the local subscription starts. Goes on after a loss
 * of the session.
 */
export function replay(
  host: ReaderHost,
  feed: Feed,
  claim: Claim,
  reading: Reading,
): AsyncGenerator<EventInit, Start | undefined, void> {
  const { place, signal } = reading;
  return withReaders(host, reading, async function* (session, reader) {
    await feed.running(session);
    let read = 0;
    for (;;) {
      const handed = feed.last;
      const { messages, complete } = await reader.fetch();
      const fetchedAt = performance.now();
      for (const { event, delivery } of messages) {
        if (event !== undefined) yield event;
        place.read(delivery);
        read = delivery.sequence;
      }
      // The local events go back for some time only, which a slow subscriber may have taken for these.
      if (!complete || performance.now() - fetchedAt > HAND_OVER_MS) continue;
      // The local events before it must not come to the subscription afterwards.
      if (read > handed) await feed.passed(read, signal());
      // Then the local events may be of another stream already.
      if (session.over) throw new Error('the session is over');
      claim.moveOn();
      return { sequence: BigInt(Math.max(read, handed) + 1) };
    }
  });
}

/**
 * Events from a place on, without an end: what is not asked for waits in the stream, where it costs this
 * process nothing and is not dropped.
 */
export function follow(
  host: ReaderHost,
  reading: Reading,
): AsyncGenerator<EventInit, Start | undefined, void> {
  return withReaders(host, reading, async function* (_session, reader) {
    for (let wait = false; ; ) {
      const { messages, complete } = await reader.fetch(wait);
      for (const { event, delivery } of messages) {
        if (event !== undefined) yield event;
        reading.place.read(delivery);
      }
      wait = complete;
    }
  });
}

/** Reads with one session after the other, however long it takes, until there is nothing more to read. */
async function* withReaders(
  { broker, decoder, logger, missed }: ReaderHost,
  { pattern, place, signal }: Reading,
  read: (session: Session, reader: Reader) => AsyncGenerator<EventInit, Start, void>,
): AsyncGenerator<EventInit, Start, void> {
  for (;;) {
    const session = await broker.again(signal);
    let reader: Reader | undefined;
    try {
      const found = place.find(await session.stream());
      if (found.replaced) broker.replaced(session);
      if (found.missed > 0) {
        missed(found.missed);
        logger.warn(
          { stream: session.names.stream, pattern, missed: found.missed },
          'pub/sub: events were removed by age before a subscriber had read them',
        );
      }
      reader = new Reader(session, decoder, pattern, place.start, signal());
      await reader.open();
      return yield* read(session, reader);
    } catch (error) {
      if (StatusError.is(error) || signal().aborted) throw error;
      if (error instanceof Forgotten) {
        await unlessAborted(signal(), delay(AGAIN_MS));
        continue;
      }
      if (!session.isTrouble(error)) {
        if (session.codeOf(error) === undefined) throw error;
        throw broker.unavailable(`NATS refused the replay: ${messageOf(error)}`);
      }
      session.fail(messageOf(error));
      // It goes on where it was.
      await session.lost;
    } finally {
      reader?.close();
    }
  }
}

interface Batch {
  readonly messages: readonly {
    readonly event: EventInit | undefined;
    readonly delivery: Delivery;
  }[];
  /** There was nothing more when the last of it was sent. */
  readonly complete: boolean;
}

/** A pull consumer of its own: what its reader does not take stays in the stream. */
class Reader {
  readonly #session: Session;
  readonly #decoder: Decoder;
  readonly #pattern: string;
  readonly #from: Start;
  readonly #signal: AbortSignal;
  readonly #inbox: string;
  /** Everything is read, and what does not match is left out here: see {@link Names.filter}. */
  readonly #filtersHere: boolean;
  #name = '';
  #pulls = 0;
  /** Sequence, of this consumer, of the last message that was taken. */
  #taken = 0;
  #batch = BATCH_FIRST;
  #receive: ((message: Msg) => void) | undefined;
  #unsubscribe = () => {};

  constructor(
    session: Session,
    decoder: Decoder,
    pattern: string,
    from: Start,
    signal: AbortSignal,
  ) {
    this.#session = session;
    this.#decoder = decoder;
    this.#pattern = pattern;
    this.#from = from;
    this.#signal = signal;
    this.#inbox = session.client.createInbox();
    this.#filtersHere = session.countsSlowly && from !== 'earliest';
  }

  async open(): Promise<void> {
    const session = this.#session;
    const subscription = session.subscribe(`${this.#inbox}.*`, (message) => {
      this.#receive?.(message);
    });
    this.#unsubscribe = () => subscription.unsubscribe();
    const { names } = session;
    const { name } = await session.ask((manager) =>
      manager.consumers.add(names.stream, {
        ack_policy: 'none',
        ...deliverFrom(this.#from),
        ...(this.#filtersHere ? {} : names.filter(this.#pattern)),
        inactive_threshold: FORGOTTEN_AFTER_MS * NANOSECONDS,
        mem_storage: true,
        num_replicas: 1,
      }),
    );
    this.#name = name;
  }

  /**
   * As many as there are, up to a bound.
   *
   * @param wait for one, for some time, where there is none
   */
  fetch(wait = false): Promise<Batch> {
    const session = this.#session;
    if (session.over) return Promise.reject(new Error('the session is over'));
    const inbox = `${this.#inbox}.${++this.#pulls}`;
    // All of one request are taken before the next: a message without a reader would be lost.
    const wanted = wait ? 1 : this.#batch;
    const messages: Batch['messages'][number][] = [];
    let bytes = 0;
    let pending = -1;
    const whole = new Promise<Batch>((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        notOver();
        this.#signal.removeEventListener('abort', aborted);
        this.#receive = undefined;
      };
      const fail = (error: Error) => {
        settle();
        reject(error);
      };
      const end = (complete: boolean) => {
        settle();
        if (messages.length > 0) {
          const each = bytes / messages.length;
          this.#batch = Math.max(1, Math.min(BATCH_MOST, Math.floor(BATCH_BYTES / (each + 1))));
        }
        resolve({ messages, complete });
      };
      const aborted = () => fail(new Error('the call is over'));
      const notOver = session.whenOver((reason) => fail(new Error(reason)));
      // A request to a consumer that is not there has no answer.
      const timer = setTimeout(() => fail(new Forgotten('no answer')), ANSWER_MS);
      this.#signal.addEventListener('abort', aborted);
      this.#receive = (message) => {
        const delivery = deliveryOf(message.reply);
        if (delivery === undefined) {
          if (message.subject !== inbox) return;
          const code = message.headers?.code;
          if (code === 100) {
            timer.refresh();
            return;
          }
          // 404: there is nothing; 408: nothing more came in time. Otherwise the consumer is gone.
          if (code === 404 || code === 408) end(code === 404 || wait || pending === 0);
          else fail(new Forgotten(message.headers?.description));
          return;
        }
        if (delivery.consumerSequence !== this.#taken + 1) {
          fail(new Forgotten('a message did not arrive'));
          return;
        }
        this.#taken++;
        bytes += message.data.length;
        messages.push(this.#event(message, delivery));
        // Where there is nothing more, the server says so, unless more has come meanwhile.
        pending = delivery.pending;
        if (messages.length === wanted) end(pending === 0);
      };
      if (this.#signal.aborted) aborted();
    });
    whole.catch(() => {});
    session.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${session.names.stream}.${this.#name}`,
      JSON.stringify({ batch: wanted, ...(wait ? WAITING : { no_wait: true }) }),
      { reply: inbox },
    );
    return whole;
  }

  #event(message: Msg, delivery: Delivery): Batch['messages'][number] {
    const { names } = this.#session;
    const wanted = !this.#filtersHere || covers(this.#pattern, names.topicOf(message.subject));
    const event = wanted ? this.#decoder.decode(message) : undefined;
    if (event === undefined) return { event, delivery };
    return { event: { ...event, sequence: BigInt(delivery.sequence) }, delivery };
  }

  close(): void {
    this.#receive = undefined;
    this.#unsubscribe();
    const session = this.#session;
    if (this.#name === '' || session.over) return;
    session.manager.consumers.delete(session.names.stream, this.#name).catch(() => {});
  }
}
