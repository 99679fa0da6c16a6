import { type Service, Status, StatusError, service } from 'millrace';
import type { Backplane, BackplaneHost, BackplaneLink, Logger } from './backplane/backplane.js';
import { Consuming } from './consuming.js';
import { PubSub } from './gen/millrace/pubsub/v1/pubsub.js';
import type { CheckedOptions } from './options.js';
import { Publishing } from './publishing.js';
import { RequestChecks } from './request-checks.js';
import { zeroCounters } from './stats.js';
import { Subscribing } from './subscribing.js';

/** The service in one thread of a server, from its start to its end. */
export class PubSubOfThread {
  readonly service: Service;
  readonly link: BackplaneLink;
  readonly counters = zeroCounters();
  readonly #publishing: Publishing;
  readonly #subscribing: Subscribing;
  readonly #consuming: Consuming;

  constructor(
    options: CheckedOptions,
    backplane: Backplane,
    topics: BackplaneHost['topics'],
    logger: Logger,
  ) {
    const { limits } = options;
    const { counters } = this;
    const checks = new RequestChecks(options);
    const link = backplane.open({
      space: options.space,
      logger,
      retention: options.retention,
      duplicateWindowMs: options.duplicateWindowMs,
      messageIdsMost: limits.messageIds,
      transient: options.transient,
      isTransient: (topic) => checks.isTransient(topic),
      mayBlock: (topic) => checks.mayBlock(topic),
      topics,
    });
    const publishing = new Publishing(link, checks, counters, limits.openPublications);
    const subscribing = new Subscribing(link, topics, checks, counters, limits.subscriptions);
    const consuming = new Consuming(link, checks, counters, limits.credit);
    this.link = link;
    this.#publishing = publishing;
    this.#subscribing = subscribing;
    this.#consuming = consuming;
    this.service = service(PubSub, {
      publish: (request, ctx) => publishing.publish(request, ctx),
      publishStream: { open: (ctx, writer) => publishing.open(ctx, writer) },
      subscribe: (request, ctx) => subscribing.subscribe(request, ctx),
      consume: { open: (ctx, writer) => consuming.open(ctx, writer) },
    });
  }

  /** Streams that would go on for ever end, so that they do not hold up the drain. */
  drain(): void {
    const error = new StatusError(
      Status.UNAVAILABLE,
      'the server is shutting down; begin again with another one',
    );
    this.#publishing.stop(error);
    this.#subscribing.stop(error);
    this.#consuming.stop(error);
  }
}
