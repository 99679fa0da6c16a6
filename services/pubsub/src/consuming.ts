import type { Context, MessageWriter, StatusError } from 'millrace';
import type { BackplaneLink, ConsumeOptions } from './backplane/backplane.js';
import { ConsumeStream } from './consume-stream.js';
import type { EventInit, SubscribeRequest } from './gen/millrace/pubsub/v1/pubsub.js';
import type { RequestChecks } from './request-checks.js';
import type { ServiceCounters } from './stats.js';

/** Consume in one thread. */
export class Consuming {
  readonly link: BackplaneLink;
  /** Credit of one consumer that may be unused. */
  readonly creditMost: number;
  readonly #checks: RequestChecks;
  readonly #counters: ServiceCounters;
  readonly #streams = new Set<ConsumeStream>();
  #stopped: StatusError | undefined;

  constructor(
    link: BackplaneLink,
    checks: RequestChecks,
    counters: ServiceCounters,
    creditMost: number,
  ) {
    this.link = link;
    this.creditMost = creditMost;
    this.#checks = checks;
    this.#counters = counters;
  }

  open(ctx: Context, writer: MessageWriter<EventInit>): ConsumeStream {
    if (this.#stopped !== undefined) throw this.#stopped;
    const stream = new ConsumeStream(this, ctx, writer);
    this.#streams.add(stream);
    return stream;
  }

  /** Ends all streams; what they have not acknowledged goes to others. */
  stop(error: StatusError): void {
    this.#stopped = error;
    for (const stream of this.#streams) stream.stop(error);
  }

  // --- what a stream asks and says ---

  /** @throws StatusError as {@link RequestChecks.consumption} */
  check(request: SubscribeRequest): ConsumeOptions & { readonly credit: number } {
    return this.#checks.consumption(request);
  }

  joined(): void {
    this.#counters.consumersJoined++;
  }

  delivered(attempt: number): void {
    this.#counters.deliveries++;
    if (attempt > 1) this.#counters.redeliveries++;
  }

  acknowledged(): void {
    this.#counters.acknowledged++;
  }

  rejected(): void {
    this.#counters.rejected++;
  }

  unknown(): void {
    this.#counters.unknownAcknowledgements++;
  }

  closed(stream: ConsumeStream): void {
    this.#streams.delete(stream);
  }
}
