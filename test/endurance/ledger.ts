// What has happened to every event, and what may not happen.

import { type Entry, Kind } from './diary.js';
import { TOPICS } from './lane.js';

/** Violations shown in full; the rest is counted. */
const SHOWN = 20;
/** Who sends to a process that was killed has noticed so long after it is back. */
const NOTICED_MS = 100;

/** One consumer process, over its streams. */
export interface ConsumerState {
  readonly name: string;
  /** Delivered on its present stream and not acknowledged. */
  readonly open: Set<number>;
  /** The port of the server that its present stream is with; 0: it has none. */
  port: number;
  /** The highest sequence of a first delivery by topic, on its present stream. */
  readonly highest: Float64Array;
  /** The same over all of its streams. */
  readonly highestEver: Float64Array;
}

/** A consumer that has been given nothing. */
export function consumerState(name: string): ConsumerState {
  return {
    name,
    open: new Set(),
    port: 0,
    highest: new Float64Array(TOPICS),
    highestEver: new Float64Array(TOPICS),
  };
}

export class Ledger {
  readonly events: number;
  readonly outcomes = new Map<string, number>();
  /** The sequence by which the publisher was told that it is kept; 0: not told. */
  readonly #sequence: Float64Array;
  /** When it was published first, milliseconds since 1970. */
  readonly #publishedAt: Float64Array;
  /** When something was killed, and until when events may have been sent to it, in the same way. */
  readonly #kills: { readonly from: number; until: number }[] = [];
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
  /** Deliveries that were not acknowledged when something was killed that had a hand in them. */
  unacknowledged = 0;
  #violations = 0;

  constructor(events: number) {
    this.events = events;
    this.#sequence = new Float64Array(events);
    this.#publishedAt = new Float64Array(events);
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

  /** A publisher is about to publish an event, for the first time or again. */
  publishing(event: number, time = Date.now()): void {
    if (this.#publishedAt[event] === 0) this.#publishedAt[event] = time;
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
        state.port = event;
        return;
      case Kind.CLOSED:
        this.over(state);
        return;
      case Kind.ACKNOWLEDGING:
        if (!state.open.delete(event)) {
          this.violation(`${state.name} acknowledged event ${event}, which it does not have`);
        }
        if (this.#acknowledged[event] === 0) this.acknowledgedCount++;
        this.#acknowledged[event] = 1;
        return;
      case Kind.DELIVERED:
        this.#deliver(state, { event, sequence, attempt, time });
    }
  }

  /**
   * Something is killed now. What it has a hand in and nobody has acknowledged may be delivered again: what
   * these consumers have, and what is on its way to or from them.
   *
   * @param pending deliveries that are not acknowledged as far as nats-server has heard, to all consumers
   */
  kill(
    affected: readonly ConsumerState[],
    others: readonly ConsumerState[],
    pending: number,
    time: number,
  ): void {
    this.#kills.push({ from: time, until: Number.POSITIVE_INFINITY });
    const held = (states: readonly ConsumerState[]) =>
      states.reduce((sum, { open }) => sum + open.size, 0);
    this.unacknowledged += Math.max(held(affected), pending - held(others));
  }

  /** What was killed last is back. */
  restarted(time: number): void {
    this.#kills.at(-1)!.until = time + NOTICED_MS;
  }

  /** A stream is over: what is open on it cannot be acknowledged any more. */
  over(state: ConsumerState): void {
    state.open.clear();
    state.highest.fill(0);
    state.port = 0;
  }

  /**
   * At the end: every event was published and acknowledged under one sequence, and redeliveries are at most
   * twice what was unacknowledged at the kills.
   */
  check(): void {
    if (this.redeliveries > 2 * this.unacknowledged) {
      this.violation(
        `${this.redeliveries} redeliveries, more than twice the ${this.unacknowledged} that were unacknowledged at the kills`,
      );
    }
    for (let event = 0; event < this.events; event++) {
      if (this.#sequence[event] === 0) this.violation(`event ${event} was never published`);
      else if (this.#acknowledged[event] === 0) {
        this.violation(
          `event ${event}, sequence ${this.#sequence[event]}, was acknowledged to its publisher and by no consumer (delivered ${this.#delivered[event]} times)`,
        );
      }
    }
  }

  #deliver(state: ConsumerState, entry: Omit<Entry, 'kind'>): void {
    const { event, sequence, attempt, time } = entry;
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
    const before = this.#delivered[event]! > 0;
    if (before) this.redeliveries++;
    if (this.#delivered[event]! < 255) this.#delivered[event]!++;
    state.open.add(event);
    const topic = event % TOPICS;
    // Behind a later one comes only what a consumer has had already, or something that was killed since.
    // What is read now may have been written before the last of the kills.
    const interrupted = () =>
      this.#kills.some(({ from, until }) => until >= this.#publishedAt[event]! && from <= time);
    if (sequence <= state.highestEver[topic]! && !before && !interrupted()) {
      this.violation(
        `${state.name} was given ${sequence} of topic ${topic} after ${state.highestEver[topic]}, which nobody had before`,
      );
    }
    state.highestEver[topic] = Math.max(sequence, state.highestEver[topic]!);
    if (attempt !== 1) return;
    if (sequence <= state.highest[topic]!) {
      this.violation(
        `${state.name} was given ${sequence} of topic ${topic} after ${state.highest[topic]}, as a first delivery`,
      );
    }
    state.highest[topic] = sequence;
  }
}
