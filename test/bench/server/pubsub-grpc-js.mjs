// The peer of the fan-out rows: publish and subscribe by @grpc/grpc-js with @grpc/proto-loader, both
// with their default settings, in the form that is fastest there. An event is encoded once for all its
// subscribers; a subscriber that does not keep up holds its publishers back (BLOCK).

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { control } from './control.mjs';

const proto = fileURLToPath(
  new URL('../../../protos/millrace/pubsub/v1/pubsub.proto', import.meta.url),
);
const include = fileURLToPath(new URL('../../../protos', import.meta.url));
const definition = /** @type {Record<string, any>} */ (
  loadSync(proto, { includeDirs: [include] })['millrace.pubsub.v1.PubSub']
);
const require = createRequire(import.meta.url);
const version = require('@grpc/grpc-js/package.json').version;

/** @param {Record<string, unknown>} event */
const encode = definition['Subscribe'].responseSerialize;
const service = {
  ...definition,
  Subscribe: { ...definition['Subscribe'], responseSerialize: (/** @type {Buffer} */ e) => e },
};

/** @typedef {{ call: grpc.ServerWritableStream<any, Buffer>, pattern: string[], full: boolean }} Subscriber */

/** @type {Set<Subscriber>} */
const subscribers = new Set();
/** Those who match a topic, until somebody comes or goes. @type {Map<string, Subscriber[]>} */
const matching = new Map();
/** Publishers that wait. @type {Set<() => void>} */
const waiting = new Set();

/** @param {string} topic */
function subscribersOf(topic) {
  let found = matching.get(topic);
  if (found === undefined) {
    const tokens = topic.split('.');
    found = [...subscribers].filter(({ pattern }) => matches(pattern, tokens));
    matching.set(topic, found);
  }
  return found;
}

/**
 * @param {string[]} pattern
 * @param {string[]} tokens
 */
function matches(pattern, tokens) {
  for (const [index, token] of pattern.entries()) {
    if (token === '>') return tokens.length > index;
    if (token !== '*' && token !== tokens[index]) return false;
  }
  return pattern.length === tokens.length;
}

/** @param {{ topic: string, payload: Buffer, attributes: Record<string, string> }} request */
function publish({ topic, payload, attributes }) {
  const now = Date.now();
  const event = encode({
    ...{ topic, payload, attributes },
    publishedAt: { seconds: Math.floor(now / 1000), nanos: (now % 1000) * 1e6 },
  });
  const found = subscribersOf(topic);
  let full = false;
  for (const subscriber of found) {
    if (!subscriber.call.write(event)) subscriber.full = true;
    full ||= subscriber.full;
  }
  return { reply: { delivered: found.length }, full };
}

function release() {
  for (const subscriber of subscribers) if (subscriber.full) return;
  for (const go of waiting) go();
  waiting.clear();
}

const server = new grpc.Server();
server.addService(/** @type {grpc.ServiceDefinition} */ (service), {
  /**
   * @param {grpc.ServerUnaryCall<any, any>} call
   * @param {grpc.sendUnaryData<any>} callback
   */
  Publish: (call, callback) => callback(null, publish(call.request).reply),

  /** @param {grpc.ServerDuplexStream<any, any>} call */
  PublishStream(call) {
    let held = false;
    call.on('data', (request) => {
      const { reply, full } = publish(request);
      call.write(reply);
      if (!full || held) return;
      held = true;
      call.pause();
      waiting.add(() => {
        held = false;
        call.resume();
      });
    });
    call.on('end', () => call.end());
  },

  /** @param {grpc.ServerWritableStream<any, Buffer>} call */
  Subscribe(call) {
    const subscriber = { call, pattern: call.request.pattern.split('.'), full: false };
    subscribers.add(subscriber);
    matching.clear();
    call.sendMetadata(new grpc.Metadata());
    call.on('drain', () => {
      subscriber.full = false;
      release();
    });
    call.on('cancelled', () => {
      subscribers.delete(subscriber);
      matching.clear();
      release();
    });
  },
});

server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  control({
    port,
    name: `@grpc/grpc-js ${version}, proto-loader, default settings, an event encoded once`,
    stats: async () => ({ subscribers: subscribers.size }),
    close: async () => server.forceShutdown(),
  });
});
