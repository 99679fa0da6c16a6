import type { Logger } from 'pino';
import { type AttachedServices, attach, isAttached } from '../service/attached.js';
import type { Service } from '../service/service.js';
import { checkServices } from './options.js';

/** The services of a thread, and what they want to hear of it. */
export interface Attachment {
  readonly services: readonly Service[];
  /** In the order in which they are to be called when a drain begins. */
  readonly drainListeners: readonly (() => void)[];
  readonly closeListeners: readonly (() => void | Promise<void>)[];
}

/**
 * Makes the services that know their server.
 *
 * @throws MillraceError MILLRACE_SERVICE_INVALID, MILLRACE_SERVICE_DUPLICATE
 */
export function attachAll(
  given: readonly (Service | AttachedServices)[],
  logger: Logger,
): Attachment {
  const services: Service[] = [];
  const startListeners: (() => void)[] = [];
  const drainListeners: (() => void)[] = [];
  const closeListeners: (() => void | Promise<void>)[] = [];
  const host = {
    services,
    logger,
    onStart: (listener: () => void) => startListeners.push(listener),
    onDrain: (listener: () => void) => drainListeners.push(listener),
    onClose: (listener: () => void | Promise<void>) => closeListeners.push(listener),
  };
  try {
    for (const entry of given) {
      if (isAttached(entry)) services.push(...entry[attach](host));
      else services.push(entry);
    }
    checkServices(services);
    for (const listener of startListeners) listener();
  } catch (error) {
    abandon(closeListeners);
    throw error;
  }
  return { services, drainListeners, closeListeners };
}

/** No server comes of it: connections and timers are given back, lest they keep the process. */
export function abandon(closeListeners: Attachment['closeListeners']): void {
  for (const listener of closeListeners) void (async () => listener())().catch(() => {});
}
