import { setTimeout as delay } from 'node:timers/promises';
import { type PublishReply, type PublishRequestInit, PubSub } from '@millrace/pubsub';
import { type Connection, connect, connection, type DuplexCall } from 'millrace';

/** Publications whose reply is still to come. */
const OPEN_MAX = 16;

/** Publishes to one topic at a rate, or as fast as its subscribers under BLOCK let it. */
export class Publisher {
  readonly #topic: string;
  readonly #payloadBytes: number;
  readonly #server: Connection;
  readonly #running: Promise<void>;
  #stopped = false;
  #published = 0;
  #proceed: (() => void) | undefined;

  constructor(target: string, topic: string, rate: number, payloadBytes: number) {
    this.#topic = topic;
    this.#payloadBytes = payloadBytes;
    this.#server = connection(target);
    this.#running = this.#run(connect(PubSub, this.#server).publishStream(), rate);
    // Reported by `stop`.
    this.#running.catch(() => {});
  }

  /** Events that the server has answered for. */
  get published(): number {
    return this.#published;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#proceed?.();
    await this.#running;
    await this.#server.close();
  }

  async #run(call: DuplexCall<PublishRequestInit, PublishReply>, rate: number): Promise<void> {
    const replies = (async () => {
      for await (const _ of call) {
        this.#published++;
        this.#proceed?.();
      }
    })();
    replies.catch(() => {});
    let dueMs = performance.now();
    for (let number = 0; !this.#stopped; number++) {
      while (number - this.#published >= OPEN_MAX && !this.#stopped) {
        const answered = new Promise<void>((resolve) => {
          this.#proceed = resolve;
        });
        await Promise.race([answered, replies]);
      }
      const payload = Buffer.alloc(this.#payloadBytes);
      // Its number, so that what is missing shows.
      payload.writeBigUInt64BE(BigInt(number));
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
