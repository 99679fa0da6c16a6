// What a subscription gets before the live events: read from the stream until the feed is reached.

import type { ConsumerConfig } from '@nats-io/jetstream';
import type { Msg } from '@nats-io/transport-node';
import { Status, StatusError } from 'millrace';
import { fromBinary } from 'millrace/codec';
import { Event, type EventInit } from '../../gen/millrace/pubsub/v1/pubsub.js';
import { covers } from '../../patterns.js';
import { refusal } from '../../refusals.js';
import type { Start } from '../backplane.js';
import { type Delivery, deliveryOf } from './acknowledgement.js';
import type { Broker } from './broker.js';
import type { Feed } from './feed.js';
import { messageOf, type Session } from './session.js';

const BATCH_FIRST = 16;
const BATCH_MOST = 256;
const BATCH_BYTES = 2 ** 20;
const ANSWER_MS = 5000;
/** The server forgets the consumer of a reader that is away, or does not read, for so long. */
const FORGOTTEN_AFTER_MS = 60_000;
const NANOSECONDS = 1_000_000;

/** A start in the past. */
export type Past = Exclude<Start, 'latest'>;

/** How a consumer is told where to start. */
export function deliverFrom(start: Start | undefined): Partial<ConsumerConfig> {
  if (start === undefined || start === 'latest') return { deliver_policy: 'new' };
  if (start === 'earliest') return { deliver_policy: 'all' };
  if ('sequence' in start) {
    return { deliver_policy: 'by_start_sequence', opt_start_seq: Number(start.sequence) };
  }
  return {
    deliver_policy: 'by_start_time',
    opt_start_time: new Date(start.time).toISOString(),
  };
}

/** @throws StatusError OUT_OF_RANGE where the stream no longer has what a replay begins with */
export async function checkStart(session: Session, start: Start | undefined): Promise<void> {
  if (start === undefined || typeof start === 'string') return;
  const { state, config } = await session.stream();
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

/**
 * Events from a start on, one after the other as they are asked for, until what follows is in the local
 * events; returns where the local subscription starts. Goes on after a loss of the session.
 */
export async function* replay(
  broker: Broker,
  feed: Feed,
  pattern: string,
  start: Past,
  signal: () => AbortSignal,
): AsyncGenerator<EventInit, Start | undefined, void> {
  let from: Past = start;
  for (;;) {
    const session = await broker.ready(signal);
    const reader = new Reader(session, pattern, from, signal());
    try {
      await feed.running(session);
      await reader.open();
      for (;;) {
        const handed = feed.last;
        const { messages, complete } = await reader.fetch();
        for (const { event, sequence } of messages) {
          if (event !== undefined) yield event;
          from = { sequence: BigInt(sequence + 1) };
        }
        if (!complete) continue;
        const read = typeof from === 'object' && 'sequence' in from ? Number(from.sequence) - 1 : 0;
        // The local events before it must not come to the subscription afterwards.
        if (read > handed) await feed.passed(read);
        return { sequence: BigInt(Math.max(read, handed) + 1) };
      }
    } catch (error) {
      if (StatusError.is(error)) throw error;
      if (signal().aborted) throw error;
      if (!session.over) throw broker.unavailable(`the replay failed: ${messageOf(error)}`);
      // Where it was when the session was lost.
      await session.lost;
    } finally {
      reader.close();
    }
  }
}

interface Batch {
  readonly messages: readonly {
    readonly event: EventInit | undefined;
    readonly sequence: number;
  }[];
  /** There was nothing more when the last of it was sent. */
  readonly complete: boolean;
}

/** A pull consumer of its own: what its reader does not take stays in the stream. */
class Reader {
  readonly #session: Session;
  readonly #pattern: string;
  readonly #from: Past;
  readonly #signal: AbortSignal;
  readonly #inbox: string;
  /** Everything is read, and what does not match is left out here: see {@link Names.filter}. */
  readonly #filtersHere: boolean;
  #name = '';
  #pulls = 0;
  #batch = BATCH_FIRST;
  #receive: ((message: Msg) => void) | undefined;
  #unsubscribe = () => {};

  constructor(session: Session, pattern: string, from: Past, signal: AbortSignal) {
    this.#session = session;
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

  /** As many as there are, up to a bound. */
  fetch(): Promise<Batch> {
    const session = this.#session;
    if (session.over) return Promise.reject(new Error('the session is over'));
    const inbox = `${this.#inbox}.${++this.#pulls}`;
    const wanted = this.#batch;
    const messages: { event: EventInit | undefined; sequence: number }[] = [];
    let bytes = 0;
    const whole = new Promise<Batch>((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        notOver();
        this.#signal.removeEventListener('abort', aborted);
        this.#receive = undefined;
      };
      const fail = (reason: string) => {
        settle();
        reject(new Error(reason));
      };
      const end = (complete: boolean) => {
        settle();
        if (messages.length > 0) {
          const each = bytes / messages.length;
          this.#batch = Math.max(1, Math.min(BATCH_MOST, Math.floor(BATCH_BYTES / (each + 1))));
        }
        resolve({ messages, complete });
      };
      const aborted = () => fail('the call is over');
      const notOver = session.whenOver(fail);
      const timer = setTimeout(() => session.fail('a replay was not answered'), ANSWER_MS);
      this.#signal.addEventListener('abort', aborted);
      this.#receive = (message) => {
        const delivery = deliveryOf(message.reply);
        if (delivery === undefined) {
          // 404: nothing more; 408: what there was has been sent; 409: the consumer is gone.
          if (message.subject !== inbox) return;
          const code = message.headers?.code;
          if (code === 409) fail(message.headers?.description ?? 'the consumer is gone');
          else end(code === 404 || messages.length === 0);
          return;
        }
        bytes += message.data.length;
        messages.push(this.#event(message, delivery));
        if (delivery.pending === 0) end(true);
        else if (messages.length === wanted) end(false);
      };
    });
    whole.catch(() => {});
    session.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${session.names.stream}.${this.#name}`,
      JSON.stringify({ batch: wanted, no_wait: true }),
      { reply: inbox },
    );
    return whole;
  }

  #event(message: Msg, { sequence }: Delivery): Batch['messages'][number] {
    const topic = this.#session.names.topicOf(message.subject);
    if (this.#filtersHere && !covers(this.#pattern, topic)) return { event: undefined, sequence };
    try {
      const event = fromBinary(Event, message.data);
      return { event: { ...event, topic, sequence: BigInt(sequence) }, sequence };
    } catch {
      // Not an event; the feed counts such messages.
      return { event: undefined, sequence };
    }
  }

  close(): void {
    this.#receive = undefined;
    this.#unsubscribe();
    const session = this.#session;
    if (this.#name === '' || session.over) return;
    session.manager.consumers.delete(session.names.stream, this.#name).catch(() => {});
  }
}
