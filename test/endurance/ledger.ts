// What has happened to every event, and what may not happen.

import { type Entry, Kind } from './diary.js';
import { TOPICS } from './lane.js';

/** Violations shown in full; the rest is counted. */
const SHOWN = 20;
/**
 * An acknowledgement is not confirmed: for so long it counts as being on its way. nats-server writes those
 * that it has got to disk every 100 ms.
 */
const ON_ITS_WAY_MS = 100;
const RECENT_MOST = 65_536;

/** One consumer process, over its streams. */
export interface ConsumerState {
  readonly name: string;
  /** Delivered on its present stream and not acknowledged. */
  readonly open: Set<number>;
  /** When it acknowledged, lately. */
  recent: number[];
  /** The highest sequence of a first delivery by topic, on its present stream. */
  readonly highest: Float64Array;
}

export class Ledger {
  readonly events: number;
  readonly outcomes = new Map<string, number>();
  /** The sequence by which the publisher was told that it is kept; 0: not told. */
  readonly #sequence: Float64Array;
  readonly #delivered: Uint8Array;
  readonly #acknowledged: Uint8Array;
  publishedCount = 0;
  acknowledgedCount = 0;
  /** Deliveries of what a consumer had been given before. */
  redeliveries = 0;
  /** Deliveries that said so of themselves: also of what was lost on its way to a consumer. */
  attempts = 0;
  deliveries = 0;
  duplicates = 0;
  /** Streams of Consume. */
  streams = 0;
  /** What was delivered and not acknowledged when a process was killed. */
  open = 0;
  /** What was being acknowledged then. */
  onItsWay = 0;
  #violations = 0;

  constructor(events: number) {
    this.events = events;
    this.#sequence = new Float64Array(events);
    this.#delivered = new Uint8Array(events);
    this.#acknowledged = new Uint8Array(events);
  }

  get violations(): number {
    return this.#violations;
  }

  violation(text: string): void {
    if (++this.#violations <= SHOWN) process.stdout.write(`  WRONG: ${text}\n`);
  }

  outcome(name: string): void {
    this.outcomes.set(name, (this.outcomes.get(name) ?? 0) + 1);
  }

  /** A publisher was told that its event is kept. */
  published(event: number, sequence: number, duplicate: boolean): void {
    if (!(sequence > 0)) this.violation(`event ${event} was published without a sequence`);
    if (duplicate) this.duplicates++;
    if (this.#sequence[event] !== 0) {
      this.violation(`event ${event} was acknowledged to its publisher twice`);
      return;
    }
    this.#sequence[event] = sequence;
    this.publishedCount++;
  }

  /** A consumer has written something down. */
  enter(state: ConsumerState, { kind, attempt, event, sequence, time }: Entry): void {
    switch (kind) {
      case Kind.OPENED:
        this.streams++;
        return;
      case Kind.CLOSED:
        this.over(state, time);
        return;
      case Kind.ACKNOWLEDGING:
        if (!state.open.delete(event)) {
          this.violation(`${state.name} acknowledged event ${event}, which it does not have`);
        }
        if (this.#acknowledged[event] === 0) this.acknowledgedCount++;
        this.#acknowledged[event] = 1;
        if (state.recent.length > RECENT_MOST) state.recent = state.recent.slice(RECENT_MOST / 2);
        state.recent.push(time);
        return;
      case Kind.DELIVERED:
        this.#deliver(state, event, sequence, attempt);
    }
  }

  get unacknowledged(): number {
    return this.open + this.onItsWay;
  }

  /** Something was killed at that time: what this consumer has not acknowledged may be delivered again. */
  interrupted(state: ConsumerState, time: number): void {
    this.open += state.open.size;
    for (let index = state.recent.length - 1; index >= 0; index--) {
      if (state.recent[index]! < time - ON_ITS_WAY_MS) break;
      this.onItsWay++;
    }
    state.recent = [];
  }

  /** The consumer or its server was killed: what is open cannot be acknowledged any more. */
  over(state: ConsumerState, time: number): void {
    this.interrupted(state, time);
    state.open.clear();
    state.highest.fill(0);
  }

  /** At the end: every event, published and acknowledged under one sequence. */
  check(): void {
    for (let event = 0; event < this.events; event++) {
      if (this.#sequence[event] === 0) this.violation(`event ${event} was never published`);
      else if (this.#acknowledged[event] === 0) {
        this.violation(
          `event ${event}, sequence ${this.#sequence[event]}, was acknowledged to its publisher and by no consumer (delivered ${this.#delivered[event]} times)`,
        );
      }
    }
  }

  #deliver(state: ConsumerState, event: number, sequence: number, attempt: number): void {
    this.deliveries++;
    if (attempt > 1) this.attempts++;
    if (event >= this.events) {
      this.violation(`${state.name} was given event ${event}, which there is none of`);
      return;
    }
    const known = this.#sequence[event]!;
    // The publisher may hear of it later than the consumer.
    if (known !== 0 && known !== sequence) {
      this.violation(`event ${event} was published as ${known} and delivered as ${sequence}`);
    }
    if (this.#delivered[event]! > 0) this.redeliveries++;
    if (this.#delivered[event]! < 255) this.#delivered[event]!++;
    state.open.add(event);
    if (attempt !== 1) return;
    const topic = event % TOPICS;
    if (sequence <= state.highest[topic]!) {
      this.violation(
        `${state.name} was given ${sequence} of topic ${topic} after ${state.highest[topic]}, as a first delivery`,
      );
    }
    state.highest[topic] = sequence;
  }
}
