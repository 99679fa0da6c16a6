// What the processes of a group know together and nats-server may have forgotten.

import { randomUUID } from 'node:crypto';
import type { Msg, Subscription } from '@nats-io/transport-node';
import { SequenceSet } from './sequence-set.js';
import type { Session } from './session.js';

/** Ranges of acknowledged sequences that are remembered of a group. */
const RANGES_REMEMBERED = 65_536;
/** Of these others are told so many at a time. */
const RANGES_TOLD = 10_000;
/** Processes tell each other what was acknowledged, so often. */
const TELL_EVERY_MS = 50;
/** After a loss of NATS a process waits for those that it has heard of so lately… */
const HEARD_LATELY_MS = 30_000;
/** …but no longer than that, for they may be gone. */
const WAIT_FOR_OTHERS_MS = 1000;

/** What processes tell each other, as JSON. */
interface Told {
  /** Of the process, and of the consumer that it talks about. */
  readonly from: string;
  readonly identity: string;
  /** Acknowledged sequences: first, last, first, last, … */
  readonly acknowledged?: readonly number[];
  /** Sequences that its members have in their hands, in the same way. */
  readonly held?: readonly number[];
  /** Whoever hears it is asked to tell everything. */
  readonly asks?: boolean;
}

/** What the owner of the knowledge knows by itself. */
export interface Holder {
  /** Sequences that members have in their hands. */
  held(): Iterable<number>;
  /** For how long others wait before they take such an event. */
  readonly ackWaitMs: number;
}

/**
 * nats-server 2.9 writes what a consumer has delivered and what was acknowledged every 100 ms, by emptying
 * a file and writing it anew. Killed at a bad moment it has forgotten the last moments, or everything, and
 * delivers all of it again. Therefore processes remember what was acknowledged and tell each other, so
 * that such deliveries are answered without a consumer; and after a loss of NATS they tell each other what
 * their consumers have in their hands, so that it stays there.
 *
 * Nothing is taken for acknowledged that no consumer has acknowledged; what is not heard is delivered once
 * more, as "at least once" allows.
 */
export class CommonKnowledge {
  readonly #group: string;
  readonly #holder: Holder;
  readonly #self = randomUUID();
  /** By any process. */
  readonly #acknowledged = new SequenceSet(RANGES_REMEMBERED);
  /** What the others have not been told yet. */
  readonly #untold = new SequenceSet(RANGES_REMEMBERED);
  /** In the hands of others, until when they are left alone. */
  readonly #elsewhere = new Map<number, number>();
  /** When each other process was heard last. */
  readonly #others = new Map<string, number>();
  /** Those that are waited for. */
  #missing = new Set<string>();
  #complete: (() => void) | undefined;
  /** Of the consumer: what is known of another one is worth nothing. */
  #identity: string | undefined;
  #session: Session | undefined;
  #subscription: Subscription | undefined;
  readonly #timer: NodeJS.Timeout;

  constructor(group: string, holder: Holder) {
    this.#group = group;
    this.#holder = holder;
    this.#timer = setInterval(() => this.#tell(), TELL_EVERY_MS);
    this.#timer.unref();
  }

  /** Whether a consumer has acknowledged it. */
  acknowledged(sequence: number): boolean {
    return this.#acknowledged.has(sequence);
  }

  /** Whether a consumer of another process has it in its hands. */
  heldElsewhere(sequence: number): boolean {
    const until = this.#elsewhere.get(sequence);
    return until !== undefined && performance.now() < until;
  }

  /** A consumer of this process has acknowledged it, or it is a dead letter. */
  acknowledge(sequence: number): void {
    this.#acknowledged.add(sequence);
    this.#untold.add(sequence);
  }

  /** The server says so of everything up to a sequence, unless it forgets it. */
  acknowledgedUpTo(sequence: number): void {
    if (sequence > 0) this.#acknowledged.add(1, sequence);
  }

  /** Whether the consumer is another one than before: then everything is forgotten. */
  recognize(identity: string): boolean {
    const another = this.#identity !== undefined && this.#identity !== identity;
    this.#identity = identity;
    if (another) this.forget();
    return another;
  }

  forget(): void {
    this.#acknowledged.clear();
    this.#untold.clear();
    this.#elsewhere.clear();
  }

  /** From now on this process hears the others, who are asked for what they know. */
  begin(session: Session): void {
    if (session === this.#session) return;
    this.#session = session;
    const subject = session.names.acknowledged(this.#group);
    this.#subscription = session.subscribe(subject, (message) => this.#hear(message));
    const held = new SequenceSet(RANGES_TOLD);
    for (const sequence of this.#holder.held()) held.add(sequence);
    this.#untold.clear();
    this.#say({
      acknowledged: this.#acknowledged.ranges(RANGES_TOLD),
      held: held.ranges(),
      asks: true,
    });
  }

  /** Settles when the others have been heard in this session, or are taken for gone. */
  async complete(): Promise<void> {
    const since = performance.now() - HEARD_LATELY_MS;
    this.#missing = new Set();
    for (const [other, heardAt] of this.#others) {
      if (heardAt < since) this.#others.delete(other);
      else this.#missing.add(other);
    }
    if (this.#missing.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, WAIT_FOR_OTHERS_MS);
      this.#complete = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#complete = undefined;
  }

  end(): void {
    this.#session = undefined;
    this.#subscription = undefined;
    this.#complete?.();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#tell();
    this.#subscription?.unsubscribe();
    this.end();
  }

  #hear(message: Msg): void {
    const { from, identity, acknowledged = [], held = [], asks } = message.json<Told>();
    if (from === this.#self || identity !== this.#identity) return;
    this.#others.set(from, performance.now());
    for (let index = 0; index + 1 < acknowledged.length; index += 2) {
      this.#acknowledged.add(acknowledged[index]!, acknowledged[index + 1]!);
    }
    const now = performance.now();
    for (const [sequence, until] of this.#elsewhere) {
      if (until < now || this.#acknowledged.has(sequence)) this.#elsewhere.delete(sequence);
    }
    const until = now + this.#holder.ackWaitMs;
    for (let index = 0; index + 1 < held.length; index += 2) {
      for (let each = held[index]!; each <= held[index + 1]!; each++) {
        this.#elsewhere.set(each, until);
      }
    }
    // Without what is held: only a server that was lost may have forgotten that.
    if (asks === true) this.#sayAll();
    this.#missing.delete(from);
    if (this.#missing.size === 0) this.#complete?.();
  }

  #tell(): void {
    const acknowledged = this.#untold.ranges(RANGES_TOLD);
    if (acknowledged.length === 0 || this.#session === undefined) return;
    this.#untold.clear();
    this.#say({ acknowledged });
  }

  #sayAll(): void {
    this.#untold.clear();
    this.#say({ acknowledged: this.#acknowledged.ranges(RANGES_TOLD) });
  }

  #say(told: Omit<Told, 'from' | 'identity'>): void {
    const session = this.#session;
    if (session === undefined) return;
    const whole: Told = { from: this.#self, identity: this.#identity ?? '', ...told };
    session.publish(session.names.acknowledged(this.#group), JSON.stringify(whole));
  }
}
