import { setTimeout as delay } from 'node:timers/promises';
import { type PublishReply, type PublishRequestInit, PubSub } from '@millrace/pubsub';
import { type Connection, connect, connection, type DuplexCall } from 'millrace';

/** Publications whose reply is still to come. */
const OPEN_MAX = 16;
const LOOK_MS = 10;

/** Subscribers that keep up: the publisher waits where the machine has not let them. */
export interface Pacers {
  /** Events that the slowest of them has received. */
  slowest(): Promise<number>;
  /** Events that the publisher may be ahead of it. */
  readonly leadMax: number;
}

/** Publishes to one topic at a rate, or as fast as its subscribers under BLOCK let it. */
export class Publisher {
  readonly #topic: string;
  readonly #payloadBytes: number;
  readonly #pacers: Pacers | undefined;
  readonly #server: Connection;
  readonly #running: Promise<void>;
  readonly #waits: number[] = [];
  #stopped = false;
  #published = 0;
  #proceed: (() => void) | undefined;

  constructor(target: string, topic: string, rate: number, payloadBytes: number, pacers?: Pacers) {
    this.#topic = topic;
    this.#payloadBytes = payloadBytes;
    this.#pacers = pacers;
    this.#server = connection(target);
    this.#running = this.#run(connect(PubSub, this.#server).publishStream(), rate);
    // Reported by `stop`.
    this.#running.catch(() => {});
  }

  /** Events that the server has answered for. */
  get published(): number {
    return this.#published;
  }

  /** How long the server took to answer for an event: the median since the last look, milliseconds. */
  waitedMs(): number {
    const waits = this.#waits.splice(0).sort((a, b) => a - b);
    return waits[waits.length >> 1] ?? 0;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#proceed?.();
    await this.#running;
    await this.#server.close();
  }

  async #run(call: DuplexCall<PublishRequestInit, PublishReply>, rate: number): Promise<void> {
    const written: number[] = [];
    const replies = (async () => {
      for await (const _ of call) {
        this.#waits.push(performance.now() - written.shift()!);
        this.#published++;
        this.#proceed?.();
      }
    })();
    replies.catch(() => {});
    let dueMs = performance.now();
    let received = 0;
    for (let number = 0; !this.#stopped; number++) {
      while (number - this.#published >= OPEN_MAX && !this.#stopped) {
        const answered = new Promise<void>((resolve) => {
          this.#proceed = resolve;
        });
        await Promise.race([answered, replies]);
      }
      while (this.#pacers && number - received >= this.#pacers.leadMax && !this.#stopped) {
        received = await this.#pacers.slowest();
        if (number - received >= this.#pacers.leadMax) await delay(LOOK_MS);
      }
      const payload = Buffer.alloc(this.#payloadBytes);
      // Its number, so that what is missing shows.
      payload.writeBigUInt64BE(BigInt(number));
      written.push(performance.now());
      call.write({ topic: this.#topic, payload });
      // What subscribers have held up is not made up for.
      dueMs = Math.max(dueMs + 1000 / rate, performance.now() - 50);
      const earlyMs = dueMs - performance.now();
      if (earlyMs > 1) await delay(earlyMs);
    }
    call.end();
    await replies;
  }
}
