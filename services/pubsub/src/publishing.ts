import type { Context, MessageWriter, StatusError } from 'millrace';
import type { BackplaneLink, Eventually, Publication, Published } from './backplane/backplane.js';
import type { PublishReplyInit, PublishRequest } from './gen/millrace/pubsub/v1/pubsub.js';
import { PublishStream } from './publish-stream.js';
import type { RequestChecks } from './request-checks.js';
import type { ServiceCounters } from './stats.js';
import { unlessAborted } from './unless-aborted.js';

/** Publish and PublishStream in one thread. */
export class Publishing {
  readonly link: BackplaneLink;
  /** Publications of one stream whose outcome may be open. */
  readonly openMost: number;
  readonly #checks: RequestChecks;
  readonly #counters: ServiceCounters;
  readonly #streams = new Set<PublishStream>();
  #stopped: StatusError | undefined;

  constructor(
    link: BackplaneLink,
    checks: RequestChecks,
    counters: ServiceCounters,
    openMost: number,
  ) {
    this.link = link;
    this.openMost = openMost;
    this.#checks = checks;
    this.#counters = counters;
  }

  /** One publication. */
  publish(request: PublishRequest, ctx: Context): Eventually<Published> {
    let outcome: Eventually<Published>;
    try {
      const publication = this.check(request);
      const writable = this.link.writable(publication.event.topic);
      outcome =
        writable === true
          ? this.link.publish(publication, () => ctx.signal)
          : this.#publishLater(publication, writable, ctx.signal);
    } catch (error) {
      this.failed();
      throw error;
    }
    if (outcome instanceof Promise) return this.#counted(outcome);
    this.count(outcome);
    return outcome;
  }

  /** A stream of publications. */
  open(ctx: Context, writer: MessageWriter<PublishReplyInit>): PublishStream {
    if (this.#stopped !== undefined) throw this.#stopped;
    const stream = new PublishStream(this, writer, () => ctx.signal);
    this.#streams.add(stream);
    return stream;
  }

  /** Ends all streams, after the replies to what they have published. */
  stop(error: StatusError): void {
    this.#stopped = error;
    for (const stream of this.#streams) stream.stop(error);
  }

  // --- what a stream asks and says ---

  /** @throws StatusError as {@link RequestChecks.publication} */
  check(request: PublishRequest): Publication {
    return this.#checks.publication(request);
  }

  count({ duplicate }: Published): void {
    if (duplicate) this.#counters.duplicates++;
    else this.#counters.published++;
  }

  failed(): void {
    this.#counters.publicationsFailed++;
  }

  blocked(): void {
    this.#counters.publicationsBlocked++;
  }

  closed(stream: PublishStream): void {
    this.#streams.delete(stream);
  }

  async #publishLater(
    publication: Publication,
    first: Promise<void>,
    signal: AbortSignal,
  ): Promise<Published> {
    this.blocked();
    let writable: true | Promise<void> = first;
    while (writable !== true) {
      await unlessAborted(signal, writable);
      writable = this.link.writable(publication.event.topic);
    }
    return this.link.publish(publication, () => signal);
  }

  async #counted(published: Promise<Published>): Promise<Published> {
    try {
      const outcome = await published;
      this.count(outcome);
      return outcome;
    } catch (error) {
      this.failed();
      throw error;
    }
  }
}
