export type {
  Backplane,
  BackplaneHost,
  BackplaneLink,
  ConsumeOptions,
  Eventually,
  Interest,
  InterestOptions,
  LocalSubscribeOptions,
  LocalSubscription,
  LocalTopics,
  Member,
  Membership,
  Publication,
  Published,
  Retention,
  Start,
} from './backplane/backplane.js';
export { memory } from './backplane/memory.js';
export { nats } from './backplane/nats/nats.js';
export type { NatsOptions, NatsRetention } from './backplane/nats/options.js';
export {
  ConsumeRequest,
  type ConsumeRequestInit,
  Event,
  type EventInit,
  PublishReply,
  type PublishReplyInit,
  PublishRequest,
  type PublishRequestInit,
  PubSub,
  pubsubFile,
  SlowConsumer,
  StartAt,
  type StartAtInit,
  SubscribeRequest,
  type SubscribeRequestInit,
} from './gen/millrace/pubsub/v1/pubsub.js';
export type { PubSubLimits, PubSubOptions } from './options.js';
export type { SlowPolicy, TopicRule } from './policies.js';
export { type AttachedPubSub, pubSub } from './pubsub.js';
export type { PubSubStats, ServiceCounters } from './stats.js';
