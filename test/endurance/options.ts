// What the endurance test is told, and what its processes are told by it.

import { parseArgs } from 'node:util';
import type { NatsOptions } from '@millrace/pubsub';

export interface EnduranceOptions {
  /** Events published. */
  readonly events: number;
  /** Processes killed meanwhile. */
  readonly kills: number;
  /** Bytes of a payload, at least {@link PAYLOAD_LEAST}. */
  readonly bytes: number;
  readonly seed: number;
}

/** An event says which one it is. */
export const PAYLOAD_LEAST = 4;

/** @throws Error that says what is wrong */
export function readOptions(words: readonly string[]): EnduranceOptions {
  const { values } = parseArgs({
    args: [...words],
    options: {
      events: { type: 'string', default: '1000000' },
      kills: { type: 'string', default: '60' },
      bytes: { type: 'string', default: '128' },
      seed: { type: 'string' },
    },
  });
  const seed = values.seed ?? String(Math.floor(Math.random() * 2 ** 31));
  return {
    events: whole('--events', values.events, 1, 10_000_000),
    kills: whole('--kills', values.kills, 0, 10_000),
    bytes: whole('--bytes', values.bytes, PAYLOAD_LEAST, 65_536),
    seed: whole('--seed', seed, 0, 2 ** 32),
  };
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new Error(`${name} is ${text}, but has to be a whole number from ${least} to ${most}`);
}

/** Given to a server as JSON in MILLRACE_ENDURANCE; further ones are options of `pubSub`. */
export interface ServerSettings {
  readonly port: number;
  /** Default 1. */
  readonly threads?: number;
  readonly space: string;
  readonly nats: NatsOptions;
}

/** Given to a consumer in the same way. */
export interface ConsumerSettings {
  /** The ports of the servers, the first to be tried first. */
  readonly ports: readonly number[];
  readonly pattern: string;
  readonly group: string;
  readonly credit: number;
  readonly ackWaitMs: number;
  /** Where it writes what it does, before it does it. */
  readonly diary: string;
}
