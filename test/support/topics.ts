// A server in the process of the test whose handlers subscribe to topics, and a peer that reads what it is
// told to read.

import { Event, PubSub, SubscribeRequest } from '@millrace/pubsub';
import {
  type Client,
  type ConnectionOptions,
  connect,
  connection,
  type ServeOptions,
  type Server,
  Status,
  StatusError,
  type SubscribeOptions,
  serve,
  service,
  type Topics,
  type TopicsOptions,
  topics,
} from 'millrace';
import { fromBinary, toBinary } from 'millrace/codec';
import pino from 'pino';
import { onTestFinished } from 'vitest';
import { eventually } from './eventually.js';
import { RawPeer, type RawPeerOptions, type RawStream } from './raw-peer.js';

type EventInit = Parameters<Topics<Event, Parameters<typeof Event.encode>[0]>['publish']>[1];

let count = 0;

/** Names of topics that no other test has. */
export const uniqueName = (what: string) => `${what} ${process.pid} ${++count}`;

export interface TopicsServer {
  readonly server: Server;
  readonly events: Topics<Event, EventInit>;
  /** Publishes an event with a payload of so many bytes that begins with a number. */
  publish(
    topic: string,
    number: number,
    bytes?: number,
  ): ReturnType<Topics<Event, EventInit>['publish']>;
  /** No call is subscribed and nothing waits any more. */
  emptied(): Promise<void>;
}

/** Serves PubSub until the test ends, of which only what is given is there. */
export async function servePubSub(
  handlers: { readonly publish?: unknown; readonly subscribe?: unknown },
  options: Partial<ServeOptions> = {},
): Promise<Server> {
  const unimplemented = () => {
    throw new StatusError(Status.UNIMPLEMENTED, 'not here');
  };
  const { publish = unimplemented, subscribe = unimplemented } = handlers;
  const server = await serve({
    host: '127.0.0.1',
    port: 0,
    signals: false,
    logger: pino({ level: 'silent' }),
    services: [
      service(PubSub, {
        publish: publish as never,
        publishStream: unimplemented,
        consume: unimplemented,
        subscribe: subscribe as never,
      }),
    ],
    ...options,
  });
  onTestFinished(async () => {
    await server.close({ drainTimeoutMs: 1000 });
  });
  return server;
}

/** Serves PubSub.Subscribe by topics; `subscribe` says how, by the options that the test gives. */
export async function topicsServer(
  subscribe: SubscribeOptions = {},
  options: TopicsOptions = {},
  serveOptions: Partial<ServeOptions> = {},
): Promise<TopicsServer> {
  const events = topics(Event, { name: uniqueName('topics'), dropped: 'dropped', ...options });
  const server = await servePubSub(
    {
      subscribe: ({ pattern, group }: { pattern: string; group: string }) =>
        events.subscribe(pattern, { ...subscribe, ...(group === '' ? {} : { group }) }),
    },
    serveOptions,
  );
  return {
    server,
    events,
    publish: (topic, number, bytes) =>
      events.publish(topic, { topic, payload: payloadOf(number, bytes) }),
    async emptied() {
      await eventually(
        'no subscription is left',
        async () => {
          const { total } = await server.stats();
          return [
            events.stats().subscriptions,
            total['subscribedCalls'],
            total['eventBytesWaiting'],
          ];
        },
        (left) => left.every((value) => value === 0),
      );
    },
  };
}

/** A client of Millrace's for a server of topics. */
export function subscriber(server: Server, options?: ConnectionOptions): Client<typeof PubSub> {
  const made = connection(`127.0.0.1:${server.port}`, options);
  onTestFinished(() => made.close(1000));
  return connect(PubSub, made);
}

/** A payload of so many bytes that begins with a number. */
export function payloadOf(number: number, bytes = 4): Uint8Array {
  const payload = new Uint8Array(bytes);
  new DataView(payload.buffer).setUint32(0, number);
  return payload;
}

/** The number that `payloadOf` has put into an event. */
export function numberOf({ payload }: Event): number {
  return new DataView(payload.buffer, payload.byteOffset).getUint32(0);
}

/** The events of a raw stream. */
export function eventsOf(stream: RawStream): Event[] {
  return stream.messages.map((message) => fromBinary(Event, message));
}

/** A peer whose streams begin with a window of so many bytes, and get no more by themselves. */
export async function rawSubscriber(
  server: Server,
  pattern: string,
  window: number,
  options: RawPeerOptions = {},
): Promise<{ peer: RawPeer; stream: RawStream }> {
  const peer = await RawPeer.connect(server.port, {
    autoCredit: false,
    settings: [[4, window]],
    ...options,
  });
  onTestFinished(() => peer.close());
  peer.creditConnectionFully();
  await peer.ping();
  const stream = rawSubscription(peer, pattern);
  await eventually('it is subscribed', () => stream.headers !== undefined || stream.isOver);
  return { peer, stream };
}

export function rawSubscription(peer: RawPeer, pattern: string, group = ''): RawStream {
  const stream = peer.request({ path: '/millrace.pubsub.v1.PubSub/Subscribe' });
  void stream.sendMessage(Buffer.from(toBinary(SubscribeRequest, { pattern, group })), true);
  return stream;
}
