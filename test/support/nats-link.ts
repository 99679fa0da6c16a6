// The NATS backplane as the service uses it, with local events that only record.

import {
  type BackplaneHost,
  type BackplaneLink,
  type ConsumeOptions,
  type LocalTopics,
  type Member,
  type Membership,
  type NatsOptions,
  nats,
  type Published,
  type Start,
} from '@millrace/pubsub';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { StatusError } from 'millrace';
import type { NatsServer } from './nats-server.js';

export type EventInit = Parameters<LocalTopics['publish']>[1];

const WAIT_MS = 20_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What was logged, as text. */
export class Log {
  readonly lines: string[] = [];
  readonly #waiting: (() => void)[] = [];

  get logger(): BackplaneHost['logger'] {
    const log = (level: string) => (first: unknown, text?: string) => {
      this.lines.push(`${level}: ${text ?? String(first)}`);
      for (const wake of this.#waiting.splice(0)) wake();
    };
    return {
      info: log('info'),
      warn: log('warn'),
      error: log('error'),
      debug: log('debug'),
    } as unknown as BackplaneHost['logger'];
  }

  async has(text: string): Promise<string> {
    for (;;) {
      const line = this.lines.find((each) => each.includes(text));
      if (line !== undefined) return line;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
}

export interface Handed {
  readonly topic: string;
  readonly text: string;
  readonly sequence: bigint;
}

/** Local events whose only subscriber sees everything. */
export class Recorded implements LocalTopics {
  readonly events: Handed[] = [];
  readonly #waiting: (() => void)[] = [];

  publish(topic: string, { payload, sequence: own }: EventInit, options?: { sequence?: bigint }) {
    const sequence = options?.sequence ?? BigInt(own ?? 0);
    this.events.push({ topic, text: decoder.decode(payload), sequence });
    for (const wake of this.#waiting.splice(0)) wake();
    return { sequence, delivered: 3 };
  }

  writable(): true {
    return true;
  }

  subscribe(): never {
    throw new Error('not of these');
  }

  async reaches(count: number): Promise<Handed[]> {
    while (this.events.length < count) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.events;
  }
}

export interface Delivered {
  readonly text: string;
  readonly topic: string;
  readonly sequence: bigint;
  readonly attempt: number;
  readonly attributes: ReadonlyMap<string, string>;
}

export class Consumer implements Member {
  readonly deliveries: Delivered[] = [];
  error: StatusError | undefined;
  membership!: Membership;
  readonly #waiting: (() => void)[] = [];

  deliver(event: EventInit, sequence: bigint, attempt: number): void {
    this.deliveries.push({
      text: decoder.decode(event.payload),
      topic: event.topic ?? '',
      sequence,
      attempt,
      attributes: event.attributes as ReadonlyMap<string, string>,
    });
    for (const wake of this.#waiting.splice(0)) wake();
  }

  failed(error: StatusError): void {
    this.error = error;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async reaches(count: number): Promise<Delivered[]> {
    while (this.deliveries.length < count && this.error === undefined) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.deliveries;
  }

  get texts(): string[] {
    return this.deliveries.map(({ text }) => text);
  }
}

export const ever = (): AbortSignal => new AbortController().signal;
const links: Node[] = [];

/** Closes every link that was opened since. */
export async function closeNodes(): Promise<void> {
  for (const { link } of links.splice(0)) await link.close();
}

/** A link as a server thread has it. */
export class Node {
  readonly log = new Log();
  readonly local = new Map<string, Recorded>();
  readonly link: BackplaneLink;

  constructor(server: NatsServer | string, space: string, options: NatsOptions = {}) {
    const servers = typeof server === 'string' ? server : server.address;
    // What streams may need is reserved: little, so that many find room.
    const retention = { bytes: 2 ** 26, ...options.retention };
    this.link = nats({ servers, waitMs: WAIT_MS / 2, ...options, retention }).open({
      space,
      logger: this.log.logger,
      retention: { count: 1000, bytes: 2 ** 20, ageMs: 60_000 },
      duplicateWindowMs: 120_000,
      messageIdsMost: 1000,
      transient: ['ticks.>'],
      isTransient: (topic) => topic.startsWith('ticks.'),
      mayBlock: () => true,
      topics: (name) => this.topics(name) as never,
    });
    links.push(this);
  }

  /** Instead of further local events: an error. */
  failWith: Error | undefined;

  topics(name: string): Recorded {
    if (this.failWith !== undefined) throw this.failWith;
    let topics = this.local.get(name);
    if (topics === undefined) {
      topics = new Recorded();
      this.local.set(name, topics);
    }
    return topics;
  }

  publish(topic: string, text: string, messageId = ''): Promise<Published> {
    const transient = topic.startsWith('ticks.');
    const event = { topic, payload: encoder.encode(text) };
    return Promise.resolve(this.link.publish({ event, messageId, transient }, ever));
  }

  /** Everything that the process gets from now on. */
  async subscribe(): Promise<Recorded> {
    const { topics } = await this.link.interest(
      { pattern: '>', group: '', start: undefined, blocking: false },
      ever,
    );
    return this.topics(topics);
  }

  async replay(
    pattern: string,
    start: Start,
  ): Promise<{ texts: string[]; next: Start | undefined }> {
    const interest = await this.link.interest({ pattern, group: '', start, blocking: false }, ever);
    const texts: string[] = [];
    try {
      for (;;) {
        const { done, value } = await interest.replay!.next();
        if (done === true) return { texts, next: value };
        texts.push(decoder.decode(value.payload));
      }
    } finally {
      interest.release();
    }
  }

  async consume(group: string, options: Partial<ConsumeOptions> = {}): Promise<Consumer> {
    const consumer = new Consumer();
    consumer.membership = await this.link.consume(
      {
        pattern: '>',
        group,
        start: 'earliest',
        ackWaitMs: 30_000,
        maxDeliveries: 0,
        deadLetterTopic: '',
        maxUnacknowledged: 10_000,
        ...options,
      },
      consumer,
      ever,
    );
    return consumer;
  }
}

export async function failure(promise: Promise<unknown>): Promise<StatusError> {
  try {
    await promise;
  } catch (error) {
    if (StatusError.is(error)) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

/** What an operator does: `nats stream rm`, `nats consumer rm`. */
export async function administer<T>(
  server: NatsServer,
  work: (manager: Awaited<ReturnType<typeof jetstreamManager>>) => Promise<T>,
): Promise<T> {
  const connection = await connect({ servers: server.address });
  try {
    return await work(await jetstreamManager(connection));
  } finally {
    await connection.close();
  }
}
