// The subscribers of this soak, in one process: every one has a connection of its own, and checks that
// nothing is missing but what it was told of. Word: the server's port.

import { setTimeout as delay } from 'node:timers/promises';
import { type Event, PubSub, SlowConsumer } from '@millrace/pubsub';
import { connect, type ResponseStream, StatusError, statusName } from 'millrace';
import type { Group, GroupSample, Policy } from './settings.js';

const POLICIES: Readonly<Record<Policy, SlowConsumer>> = {
  block: SlowConsumer.SLOW_CONSUMER_BLOCK,
  'drop-oldest': SlowConsumer.SLOW_CONSUMER_DROP_OLDEST,
  'drop-newest': SlowConsumer.SLOW_CONSUMER_DROP_NEWEST,
  disconnect: SlowConsumer.SLOW_CONSUMER_DISCONNECT,
};

const open = () => connect(PubSub, target);
const target = `127.0.0.1:${process.argv[2]}`;

class Subscribers {
  readonly #group: Group;
  readonly #received: number[] = [];
  readonly #ended: Record<string, number> = {};
  #dropped = 0;
  #unaccounted = 0;
  /** Where they never read: what begins their reading after all, and when they are through. */
  readonly #look: (() => void)[] = [];
  readonly #through: Promise<void>[] = [];

  constructor(group: Group) {
    this.#group = group;
  }

  get sample(): GroupSample {
    return {
      name: this.#group.name,
      received: this.#received,
      dropped: this.#dropped,
      unaccounted: this.#unaccounted,
      ended: this.#ended,
    };
  }

  /** Resolves when all are subscribed. */
  async subscribe(): Promise<void> {
    const { count, pattern, policy, maxPending } = this.#group;
    const headers = Array.from({ length: count }, (_, index) => {
      this.#received[index] = 0;
      const stream = open().subscribe({
        ...{ pattern, maxPending },
        slowConsumer: POLICIES[policy],
      });
      this.#through[index] = this.#follow(stream, index).then(
        () => this.#end('OK'),
        (error: unknown) => {
          this.#end(error instanceof StatusError ? statusName(error.code) : String(error));
        },
      );
      return stream.headers;
    });
    await Promise.all(headers);
  }

  async look(): Promise<void> {
    for (const look of this.#look) look();
    await Promise.all(this.#through);
  }

  async #follow(stream: ResponseStream<Event>, index: number): Promise<void> {
    const { takes } = this.#group;
    if (takes === 'none') {
      await new Promise<void>((resolve) => this.#look.push(resolve));
      for await (const _ of stream);
      return;
    }
    let next: number | undefined;
    const start = performance.now();
    for await (const { payload, dropped } of stream) {
      const number = Number(Buffer.from(payload.buffer, payload.byteOffset).readBigUInt64BE());
      const count = Number(dropped);
      if (next !== undefined && number !== next + count) this.#unaccounted++;
      next = number + 1;
      this.#dropped += count;
      const received = this.#received[index]! + 1;
      this.#received[index] = received;
      if (takes !== 'all') {
        const earlyMs = start + (received / takes) * 1000 - performance.now();
        if (earlyMs > 0) await delay(earlyMs);
      }
    }
  }

  #end(status: string): void {
    this.#ended[status] = (this.#ended[status] ?? 0) + 1;
  }
}

const groups = new Map<string, Subscribers>();

process.on('message', async (question: { subscribe?: Group; look?: string }) => {
  const { subscribe, look } = question;
  if (subscribe !== undefined) {
    const group = new Subscribers(subscribe);
    groups.set(subscribe.name, group);
    await group.subscribe();
    process.send?.({ subscribed: true });
  } else if (look !== undefined) {
    await groups.get(look)?.look();
    process.send?.({ looked: true });
  } else {
    process.send?.({ samples: [...groups.values()].map(({ sample }) => sample) });
  }
});
process.on('disconnect', () => process.exit(0));
process.send?.({ ready: true });
