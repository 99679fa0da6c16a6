import type { Event, EventInit } from '../gen/millrace/pubsub/v1/pubsub.js';

/**
 * The event that goes to a dead-letter topic: payload and attributes of the one that was delivered in
 * vain, with where it came from in further attributes.
 */
export function deadLetterOf(
  event: Event,
  sequence: bigint,
  topic: string,
  group: string,
  attempts: number,
): EventInit & { readonly topic: string } {
  const attributes = new Map(event.attributes);
  attributes.set('dead-letter-topic', event.topic);
  attributes.set('dead-letter-sequence', String(sequence));
  attributes.set('dead-letter-group', group);
  attributes.set('dead-letter-attempts', String(attempts));
  return { topic, payload: event.payload, attributes, publishedAt: event.publishedAt };
}
