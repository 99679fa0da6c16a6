// Messages of NATS as events: in one place, so that every part of the backplane takes and leaves out the
// same.

import type { Msg } from '@nats-io/transport-node';
import { fromBinary } from 'millrace/codec';
import { Event } from '../../gen/millrace/pubsub/v1/pubsub.js';
import type { Logger } from '../backplane.js';
import type { Names } from './subjects.js';

export class Decoder {
  readonly #names: Names;
  readonly #logger: Logger;
  /** Messages that hold no event: published by something else. */
  foreign = 0;

  constructor(names: Names, logger: Logger) {
    this.#names = names;
    this.#logger = logger;
  }

  /** The event, under the topic of its subject; `undefined` for what is none. */
  decode(message: Msg, topic = this.#names.topicOf(message.subject)): Event | undefined {
    try {
      const event = fromBinary(Event, message.data);
      event.topic = topic;
      return event;
    } catch (error) {
      this.leaveOut(message, error);
      return undefined;
    }
  }

  /** It cannot be handed on: its subject is no topic, say. */
  leaveOut(message: Msg, error: unknown): void {
    if (this.foreign++ > 0) return;
    this.#logger.warn(
      { err: error, subject: message.subject },
      'pub/sub: a message that is no millrace.pubsub.v1.Event was left out; further ones are counted only',
    );
  }
}
