export type {
  Backplane,
  BackplaneHost,
  BackplaneLink,
  ConsumeOptions,
  Eventually,
  Interest,
  InterestOptions,
  LocalTopics,
  Member,
  Membership,
  Publication,
  Published,
  Retention,
  Start,
} from './backplane/backplane.js';
export { nats } from './backplane/nats/nats.js';
export type { NatsOptions, NatsRetention } from './backplane/nats/options.js';
export {
  Event,
  type EventInit,
  PubSub,
  SubscribeRequest,
} from './gen/millrace/pubsub/v1/pubsub.js';
