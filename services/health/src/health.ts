import { type AttachedServices, attach, type Service, type ServiceHost } from 'millrace';
import { HealthOfThread } from './service.js';

/** What a service can be set to. */
export type ServingStatus = 'SERVING' | 'NOT_SERVING' | 'UNKNOWN';

const statuses: readonly string[] = ['SERVING', 'NOT_SERVING', 'UNKNOWN'];

/** The statuses of a server and its services. Give it to `serve` among the services. */
export interface Health extends AttachedServices {
  /**
   * Sets the status of one service, by its full name, or of the server as a whole with `''`; neither
   * follows from the other. The name need not be that of a service.
   *
   * @throws TypeError for a status that there is none of
   */
  set(service: string, status: ServingStatus): void;
  /** Forgets a name: Check then answers NOT_FOUND, Watch SERVICE_UNKNOWN. */
  remove(service: string): void;
  /** As it was set; `undefined` for a name that is not known. */
  get(service: string): ServingStatus | undefined;
}

/**
 * Health checking by the protocol of gRPC, grpc.health.v1: `serve({ services: [echo, health()] })`.
 *
 * The server as a whole (`''`) and each of its services are SERVING from the start. When the server
 * begins to drain, all are NOT_SERVING, whatever they were set to: watchers are told, then their calls
 * end with UNAVAILABLE, so that they do not hold up the drain.
 *
 * With threads, export it from the services module: each thread has statuses of its own.
 */
export function health(): Health {
  return new Statuses();
}

/** The statuses, and who wants to hear of changes. */
export class Statuses implements Health {
  readonly #statuses = new Map<string, ServingStatus>([['', 'SERVING']]);
  readonly #listeners = new Set<(service: string) => void>();

  set(service: string, status: ServingStatus): void {
    if (typeof service !== 'string' || !statuses.includes(status)) {
      throw new TypeError(
        `health.set() takes the full name of a service, or '' for the server, and one of ${statuses.join(', ')}; not ${JSON.stringify(service)} and ${JSON.stringify(status)}`,
      );
    }
    this.#statuses.set(service, status);
    this.#tell(service);
  }

  remove(service: string): void {
    if (this.#statuses.delete(service)) this.#tell(service);
  }

  get(service: string): ServingStatus | undefined {
    return this.#statuses.get(service);
  }

  entries(): ReadonlyMap<string, ServingStatus> {
    return this.#statuses;
  }

  listen(listener: (service: string) => void): void {
    this.#listeners.add(listener);
  }

  unlisten(listener: (service: string) => void): void {
    this.#listeners.delete(listener);
  }

  [attach](host: ServiceHost): readonly Service[] {
    const thread = new HealthOfThread(this);
    host.onStart(() => {
      for (const { typeName } of host.services) {
        if (!this.#statuses.has(typeName)) this.set(typeName, 'SERVING');
      }
    });
    host.onDrain(() => thread.drain());
    return [thread.service];
  }

  #tell(service: string): void {
    for (const listener of this.#listeners) listener(service);
  }
}
