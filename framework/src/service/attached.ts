import type { Logger } from 'pino';
import type { Service } from './service.js';

/** The key of the method that makes the services; the same in another copy of this package. */
export const attach: unique symbol = Symbol.for('millrace.attach') as never;

/** How long the end of a thread waits for what its attached services have to give back. */
export const CLOSE_WAIT_MS = 5_000;

/** What attached services know of the server thread that they are part of. */
export interface ServiceHost {
  /** Everything that this thread serves, attached services included: complete when it starts. */
  readonly services: readonly Service[];
  /** For what belongs to no call. */
  readonly logger: Logger;
  /** Calls back once, when `services` is complete and nothing is accepted yet. */
  onStart(listener: () => void): void;
  /**
   * Calls back once, when the thread begins to drain, before connections are told. Calls that would
   * hold up the drain are to end now.
   */
  onDrain(listener: () => void): void;
  /**
   * Calls back once, when the last call of the thread is over: to give back connections and timers.
   * What it returns is awaited, for {@link CLOSE_WAIT_MS} at most.
   */
  onClose(listener: () => void | Promise<void>): void;
}

/**
 * Services that know their server, such as health and reflection: they are made when it starts, in
 * each of its threads. Given to `serve` like a service.
 */
export interface AttachedServices {
  /** Makes the services of one server thread; called once in each, when it starts. */
  [attach](host: ServiceHost): readonly Service[];
}

/** Whether a value makes services when a server starts. */
export function isAttached(value: unknown): value is AttachedServices {
  return typeof value === 'object' && value !== null && attach in value;
}
