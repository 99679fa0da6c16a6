// Where in the stream somebody reads, and where to go on when the stream is not what it was.

import type { ConsumerConfig, StreamInfo } from '@nats-io/jetstream';
import type { Start } from '../backplane.js';
import type { Delivery } from './acknowledgement.js';

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

/** What a reader finds when it comes back. */
export interface Found {
  /** Another stream, or the same one from an earlier time: sequences go back. */
  readonly replaced: boolean;
  /** Sequences that were removed before they were read. */
  readonly missed: number;
}

const AS_IT_WAS: Found = { replaced: false, missed: 0 };

/**
 * The place of one reader. A sequence alone does not say it: a stream that is deleted and made anew counts
 * from 1, and whoever waits for a higher one would not hear of what comes before it.
 */
export class Place {
  /** When the stream was created, by which it is known. nats-server keeps that over its restarts. */
  #stream: string;
  #start: Past;
  /** When the last event that was read was stored, milliseconds; 0: none was. */
  #time = 0;

  constructor(stream: string, start: Past) {
    this.#stream = stream;
    this.#start = start;
  }

  /** Where to read on. */
  get start(): Past {
    return this.#start;
  }

  read({ sequence, time }: Pick<Delivery, 'sequence' | 'time'>): void {
    this.#start = { sequence: BigInt(sequence + 1) };
    this.#time = time;
  }

  /** Before reading on: with the first event of another stream, with what there is of this one. */
  find({ created, state }: Pick<StreamInfo, 'created' | 'state'>): Found {
    if (created !== this.#stream) {
      this.#stream = created;
      this.#start = 'earliest';
      this.#time = 0;
      return { replaced: true, missed: 0 };
    }
    const start = this.#start;
    if (typeof start !== 'object' || !('sequence' in start)) return AS_IT_WAS;
    const next = Number(start.sequence);
    if (next > state.last_seq + 1) {
      // A copy from the past: the same sequences will be those of other events, which are later ones.
      const later = { time: this.#time + 1 };
      this.#start = this.#time === 0 ? { sequence: BigInt(state.last_seq + 1) } : later;
      return { replaced: true, missed: 0 };
    }
    if (next >= state.first_seq) return AS_IT_WAS;
    this.#start = { sequence: BigInt(state.first_seq) };
    return { replaced: false, missed: state.first_seq - next };
  }
}
