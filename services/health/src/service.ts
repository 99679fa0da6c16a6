import { type Service, Status, StatusError, service } from 'millrace';
import {
  HealthCheckResponse_ServingStatus as Code,
  Health,
  type HealthCheckResponseInit,
} from './gen/grpc/health/v1/health.js';
import type { Statuses } from './health.js';

/** More statuses than these List refuses, as its contract provides. */
export const LISTED_MAX = 1000;

/** The service in one thread of a server, from its start to its drain. */
export class HealthOfThread {
  readonly service: Service;
  readonly #statuses: Statuses;
  /** By the name that is watched: what wakes the watchers. */
  readonly #watchers = new Map<string, Set<() => void>>();
  readonly #wake = (name: string) => {
    for (const wake of this.#watchers.get(name) ?? []) wake();
  };
  #draining = false;

  constructor(statuses: Statuses) {
    this.#statuses = statuses;
    statuses.listen(this.#wake);
    this.service = service(Health, {
      check: ({ service: name }) => this.#check(name),
      list: () => ({ statuses: this.#list() }),
      watch: ({ service: name }, ctx) => this.#watch(name, ctx.signal),
    });
  }

  /** Everything is NOT_SERVING from now on, and no watcher stays. */
  drain(): void {
    this.#draining = true;
    this.#statuses.unlisten(this.#wake);
    for (const name of this.#watchers.keys()) this.#wake(name);
  }

  #code(name: string): Code | undefined {
    const status = this.#statuses.get(name);
    if (status === undefined) return undefined;
    return this.#draining ? Code.NOT_SERVING : Code[status];
  }

  #check(name: string): HealthCheckResponseInit {
    const status = this.#code(name);
    if (status !== undefined) return { status };
    throw new StatusError(Status.NOT_FOUND, `no service '${name}' is known here`);
  }

  #list(): Record<string, HealthCheckResponseInit> {
    const names = [...this.#statuses.entries().keys()];
    if (names.length > LISTED_MAX) {
      throw new StatusError(
        Status.RESOURCE_EXHAUSTED,
        `${names.length} services are more than the ${LISTED_MAX} that List answers with; check them one by one`,
      );
    }
    return Object.fromEntries(names.map((name) => [name, this.#check(name)]));
  }

  /** A watcher that reads slowly misses what was past before it came to read it, but never the last. */
  async *#watch(name: string, signal: AbortSignal): AsyncGenerator<HealthCheckResponseInit> {
    let told: Code | undefined;
    for (;;) {
      const status = this.#code(name) ?? Code.SERVICE_UNKNOWN;
      if (status !== told) {
        told = status;
        yield { status };
      } else if (this.#draining) {
        throw new StatusError(Status.UNAVAILABLE, 'the server is shutting down');
      } else {
        await this.#change(name, signal);
        signal.throwIfAborted();
      }
    }
  }

  /** Resolves when the status may have changed, or the call is over. */
  #change(name: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const watchers = this.#watchers.get(name) ?? new Set();
      this.#watchers.set(name, watchers);
      const wake = () => {
        signal.removeEventListener('abort', wake);
        watchers.delete(wake);
        if (watchers.size === 0) this.#watchers.delete(name);
        resolve();
      };
      watchers.add(wake);
      signal.addEventListener('abort', wake);
    });
  }
}
