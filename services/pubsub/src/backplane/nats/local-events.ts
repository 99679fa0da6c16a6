// The local events that the feed is handed on to. Sequences in one of them only go up, so that another
// stream needs others; who has subscribed to the former ones stays there.

import type { StreamInfo } from '@nats-io/jetstream';
import type { Event } from '../../gen/millrace/pubsub/v1/pubsub.js';
import type { LocalTopics } from '../backplane.js';

const TRANSIENT = { retain: false };

/** Events by the name that they have for `BackplaneHost.topics`. */
export interface NamedTopics {
  readonly name: string;
  readonly events: LocalTopics;
}

interface Local extends NamedTopics {
  /** When its stream was created; `undefined`: it has had none yet. */
  stream: string | undefined;
  highest: bigint;
  /** Subscriptions. */
  users: number;
}

/** A subscription's claim on local events, to be released once. */
export interface Claim {
  /** Their name. */
  readonly topics: string;
  /** To the present ones, before it has subscribed. */
  moveOn(): void;
  release(): void;
}

export class LocalEvents {
  readonly #open: () => NamedTopics;
  #current: Local;
  /** Those of other streams that are still subscribed to. */
  #former: Local[] = [];

  /** @param open gives others each time */
  constructor(open: () => NamedTopics) {
    this.#open = open;
    this.#current = this.#opened();
  }

  /** What is published from now on is from this stream, and not from before its last event. */
  begin({ created, state }: StreamInfo): void {
    const { stream, highest } = this.#current;
    const continues = stream === created && state.last_seq >= highest;
    if (stream !== undefined && !continues) {
      if (this.#current.users > 0) this.#former.push(this.#current);
      this.#current = this.#opened();
    }
    this.#current.stream = created;
  }

  /** How many subscriptions it is for. @param sequence `undefined` for a transient event */
  publish(topic: string, event: Event, sequence: number | undefined): number {
    const current = this.#current;
    if (sequence === undefined) {
      let delivered = 0;
      for (const { events } of [current, ...this.#former]) {
        delivered += events.publish(topic, event, TRANSIENT).delivered;
      }
      return delivered;
    }
    const own = BigInt(sequence);
    let { delivered } = current.events.publish(topic, event, { retain: true, sequence: own });
    current.highest = own;
    for (const { events } of this.#former) {
      // They have had higher ones, and would not keep it: the event brings its sequence itself.
      delivered += events.publish(topic, { ...event, sequence: own }, TRANSIENT).delivered;
    }
    return delivered;
  }

  /** See {@link BackplaneLink.writable}. */
  writable(topic: string): true | Promise<void> {
    return this.#current.events.writable(topic);
  }

  claim(): Claim {
    let local = this.#current;
    local.users++;
    const release = () => {
      if (--local.users === 0) this.#former = this.#former.filter((each) => each !== local);
    };
    return {
      get topics() {
        return local.name;
      },
      moveOn: () => {
        if (local === this.#current) return;
        release();
        local = this.#current;
        local.users++;
      },
      release,
    };
  }

  #opened(): Local {
    return { ...this.#open(), stream: undefined, highest: 0n, users: 0 };
  }
}
