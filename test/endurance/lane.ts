// A publisher of the endurance test. It publishes its events in order on one stream; what was not answered
// when a stream ends is published again on the next, with the same message_id.

import { setTimeout as delay } from 'node:timers/promises';
import { PubSub } from '@millrace/pubsub';
import { type Client, connect, Status, StatusError } from 'millrace';
import type { Ledger } from './ledger.js';

const WINDOW = 128;
const AGAIN_MS = 50;

export interface LaneSettings {
  /** It publishes every so manieth event, from this one on. */
  readonly first: number;
  readonly step: number;
  readonly events: number;
  readonly bytes: number;
  readonly ports: readonly number[];
}

/** The topic of an event. */
export const topicOf = (event: number) => `load.${event % TOPICS}`;
export const TOPICS = 16;

export class Lane {
  readonly #settings: LaneSettings;
  readonly #ledger: Ledger;
  readonly #clients: readonly Client<typeof PubSub>[];
  readonly #payload: Uint8Array;
  /** Whether to publish more. */
  readonly #gate: () => boolean;
  /** Publishes more, on the present stream. */
  #fill = () => {};
  /** Published and not answered, in order. */
  #open: number[] = [];
  #next: number;
  #stopped = false;

  constructor(settings: LaneSettings, ledger: Ledger, gate: () => boolean) {
    this.#gate = gate;
    this.#settings = settings;
    this.#ledger = ledger;
    this.#next = settings.first;
    this.#payload = new Uint8Array(settings.bytes);
    this.#clients = settings.ports.map((port) =>
      connect(PubSub, `127.0.0.1:${port}`, { backoff: { initialMs: 50, mostMs: 500 } }),
    );
  }

  /** Until everything is published and answered. */
  async run(): Promise<void> {
    for (let turn = this.#settings.first; !this.#done && !this.#stopped; turn++) {
      const client = this.#clients[turn % this.#clients.length]!;
      try {
        await this.#stream(client);
      } catch (error) {
        if (!StatusError.is(error)) throw error;
        this.#ledger.outcome(`publish: ${error.codeName}`);
        if (error.code !== Status.UNAVAILABLE) {
          this.#ledger.violation(`a publisher got ${error.codeName}: ${error.message}`);
        }
        await delay(AGAIN_MS);
      }
    }
  }

  /** The gate may be open again. */
  goOn(): void {
    this.#fill();
  }

  stop(): void {
    this.#stopped = true;
  }

  get #done(): boolean {
    return this.#next >= this.#settings.events && this.#open.length === 0;
  }

  async #stream(client: Client<typeof PubSub>): Promise<void> {
    const call = client.publishStream();
    const { events, step } = this.#settings;
    const again = this.#open;
    this.#open = [];
    const publish = (event: number) => {
      new DataView(this.#payload.buffer).setUint32(0, event, true);
      this.#open.push(event);
      this.#ledger.publishing(event);
      call.write({ topic: topicOf(event), payload: this.#payload, messageId: `event-${event}` });
    };
    for (const event of again) publish(event);
    const fill = () => {
      while (this.#open.length < WINDOW && this.#next < events && this.#gate()) {
        publish(this.#next);
        this.#next += step;
      }
      if (this.#open.length === 0 && (this.#next >= events || this.#stopped)) call.end();
    };
    this.#fill = fill;
    fill();
    try {
      for await (const { sequence, duplicate } of call) {
        this.#ledger.published(this.#open.shift()!, Number(sequence), duplicate);
        fill();
      }
    } finally {
      this.#fill = () => {};
    }
  }
}
