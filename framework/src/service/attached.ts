import type { Service } from './service.js';

/** The key of the method that makes the services; the same in another copy of this package. */
export const attach: unique symbol = Symbol.for('millrace.attach') as never;

/** What attached services know of the server thread that they are part of. */
export interface ServiceHost {
  /** Everything that this thread serves, attached services included: complete when it starts. */
  readonly services: readonly Service[];
  /** Calls back once, when `services` is complete and nothing is accepted yet. */
  onStart(listener: () => void): void;
  /**
   * Calls back once, when the thread begins to drain, before connections are told. Calls that would
   * hold up the drain are to end now.
   */
  onDrain(listener: () => void): void;
}

/**
 * Services that know their server, such as health and reflection: they are made when it starts, in
 * each of its threads. Given to `serve` like a service.
 */
export interface AttachedServices {
  [attach](host: ServiceHost): readonly Service[];
}

/** Whether a value makes services when a server starts. */
export function isAttached(value: unknown): value is AttachedServices {
  return typeof value === 'object' && value !== null && attach in value;
}
