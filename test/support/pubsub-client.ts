// The independent client of pub/sub: @grpc/grpc-js, with the contract loaded from the .proto file.

import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { onTestFinished } from 'vitest';
import { patience } from './patience.js';

export interface PublishMessage {
  readonly topic: string;
  readonly payload?: Uint8Array;
  readonly attributes?: Record<string, string>;
  readonly messageId?: string;
}

export interface PublishReply {
  readonly sequence: string;
  readonly delivered: number;
  readonly duplicate: boolean;
}

export type SlowConsumer =
  | 'SLOW_CONSUMER_BLOCK'
  | 'SLOW_CONSUMER_DROP_OLDEST'
  | 'SLOW_CONSUMER_DROP_NEWEST'
  | 'SLOW_CONSUMER_DISCONNECT';

export interface SubscribeMessage {
  readonly pattern: string;
  readonly group?: string;
  readonly slowConsumer?: SlowConsumer | number;
  readonly maxPending?: number;
  readonly start?: {
    readonly sequence?: number | string;
    readonly time?: { readonly seconds: number; readonly nanos: number };
    readonly earliest?: boolean;
    readonly latest?: boolean;
  };
  readonly ackWait?: { readonly seconds: number; readonly nanos: number };
  readonly maxDeliveries?: number;
  readonly deadLetterTopic?: string;
}

export interface EventMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly attributes: Record<string, string>;
  readonly sequence: string;
  readonly publishedAt: { readonly seconds: string; readonly nanos: number } | null;
  readonly dropped: string;
  readonly deliveryAttempt: number;
}

export interface ConsumeMessage {
  readonly open?: SubscribeMessage;
  readonly ack?: string | number;
  readonly nack?: string | number;
  readonly credit?: number;
}

export type PublishCall = grpc.ClientDuplexStream<PublishMessage, PublishReply>;
export type ConsumeCall = grpc.ClientDuplexStream<ConsumeMessage, EventMessage>;

export interface PubSubClient extends grpc.Client {
  publish(
    request: PublishMessage,
    options: grpc.CallOptions,
    callback: (error: grpc.ServiceError | null, reply?: PublishReply) => void,
  ): grpc.ClientUnaryCall;
  publishStream(): PublishCall;
  subscribe(request: SubscribeMessage): grpc.ClientReadableStream<EventMessage>;
  consume(): ConsumeCall;
}

const proto = fileURLToPath(
  new URL('../../protos/millrace/pubsub/v1/pubsub.proto', import.meta.url),
);
const name = 'millrace.pubsub.v1.PubSub';
const definition = loadSync(proto, {
  includeDirs: [fileURLToPath(new URL('../../protos', import.meta.url))],
  keepCase: false,
  longs: String,
  defaults: true,
})[name] as grpc.ServiceDefinition;

const Constructor = grpc.makeGenericClientConstructor(definition, name) as unknown as new (
  address: string,
  credentials: grpc.ChannelCredentials,
  options: grpc.ClientOptions,
) => PubSubClient;

/** A client with a connection of its own, closed when the test is finished. */
export function pubSubClient({ port }: { readonly port: number }): PubSubClient {
  const client = new Constructor(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.max_receive_message_length': -1,
  });
  onTestFinished(() => client.close());
  return client;
}

export function publish(
  client: PubSubClient,
  message: PublishMessage,
  timeoutMs = 20_000,
): Promise<PublishReply> {
  return new Promise((resolve, reject) => {
    client.publish(message, { deadline: Date.now() + patience(timeoutMs) }, (error, reply) =>
      error === null ? resolve(reply!) : reject(error),
    );
  });
}

/** Publishes on one stream; the replies, in their order. */
export async function publishAll(
  client: PubSubClient,
  messages: Iterable<PublishMessage>,
): Promise<PublishReply[]> {
  const call = client.publishStream();
  const replies = received<PublishReply>(call);
  for (const message of messages) {
    if (call.destroyed) break;
    if (call.write(message)) continue;
    await Promise.race([
      new Promise<void>((resolve) => call.once('drain', resolve)),
      replies.status,
    ]);
  }
  call.end();
  await replies.ended;
  return replies.list;
}

/** What a stream gives, and how it ends. */
export interface Received<T> {
  readonly list: T[];
  /** Resolves when there are so many. Rejects when the call ends before. */
  count(count: number): Promise<T[]>;
  /** The status, whatever it is. */
  readonly status: Promise<grpc.StatusObject>;
  /** Resolves at OK, rejects with any other status. */
  readonly ended: Promise<void>;
}

export function received<T>(call: grpc.ClientReadableStream<T>): Received<T> {
  const list: T[] = [];
  let wake = () => {};
  let over: Error | undefined;
  call.on('data', (one: T) => {
    list.push(one);
    wake();
  });
  const status = new Promise<grpc.StatusObject>((resolve) => {
    call.on('status', (given) => {
      over = new Error(`the call ended: ${given.code} ${given.details}`);
      wake();
      resolve(given);
    });
  });
  const ended = new Promise<void>((resolve, reject) => {
    call.on('error', reject);
    call.on('end', resolve);
  });
  ended.catch(() => {});
  const count = async (wanted: number): Promise<T[]> => {
    while (list.length < wanted) {
      if (over !== undefined) throw over;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return list;
  };
  return { list, count, status, ended };
}

export interface Subscriber extends Received<EventMessage> {
  readonly call: grpc.ClientReadableStream<EventMessage>;
}

/** Subscribes, and waits until that is in force: until its headers have come. */
export async function subscribe(
  client: PubSubClient,
  request: SubscribeMessage,
): Promise<Subscriber> {
  const call = client.subscribe(request);
  const headers = new Promise<void>((resolve) => call.once('metadata', () => resolve()));
  const stream = received<EventMessage>(call);
  await Promise.race([headers, stream.ended]);
  return { ...stream, call };
}

/** The status of a subscription that is refused. */
export async function refusedSubscription(
  client: PubSubClient,
  request: SubscribeMessage,
): Promise<grpc.StatusObject> {
  return received(client.subscribe(request)).status;
}

export interface Consumer extends Received<EventMessage> {
  readonly call: ConsumeCall;
  readonly headers: Promise<void>;
}

/** Opens a consumer; what it is given is not acknowledged. */
export function consume(client: PubSubClient, ...messages: ConsumeMessage[]): Consumer {
  const call = client.consume();
  const headers = new Promise<void>((resolve) => call.once('metadata', () => resolve()));
  const stream = received<EventMessage>(call);
  for (const message of messages) call.write(message);
  return { ...stream, call, headers };
}

/** Texts as payloads and back. */
export const text = (payload: string) => Buffer.from(payload);
/** One message for each payload, which is written as a text. */
export const messages = (topic: string, payloads: readonly (string | number)[]): PublishMessage[] =>
  payloads.map((each) => ({ topic, payload: text(String(each)) }));
export const texts = (events: readonly EventMessage[]) =>
  events.map(({ payload }) => payload.toString());
