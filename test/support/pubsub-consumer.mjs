// A consumer or subscriber in a process of its own, to be killed: node pubsub-consumer.mjs PORT JSON.
// Says each event that it has dealt with to its parent, and after so many (`acknowledge`) keeps the
// rest to itself.

import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const [port, configuration] = process.argv.slice(2);
/** @type {{ method: 'consume' | 'subscribe', open: object, acknowledge?: number }} */
const { method, open, acknowledge = Number.POSITIVE_INFINITY } = JSON.parse(configuration ?? '{}');

const protos = fileURLToPath(new URL('../../protos', import.meta.url));
const definition = loadSync(`${protos}/millrace/pubsub/v1/pubsub.proto`, {
  includeDirs: [protos],
  longs: String,
  defaults: true,
})['millrace.pubsub.v1.PubSub'];
const Client = grpc.makeGenericClientConstructor(
  /** @type {grpc.ServiceDefinition} */ (definition),
  'PubSub',
);
const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());

/** @param {object} message */
const say = (message) => process.send?.(message);

const call = method === 'consume' ? client['Consume']?.() : client['Subscribe']?.(open);
if (method === 'consume') call.write({ open });
call.on('metadata', () => say({ ready: true }));
call.on('error', (/** @type {Error} */ error) => say({ error: error.message }));
let seen = 0;
call.on('data', (/** @type {{ sequence: string, deliveryAttempt: number }} */ event) => {
  const { sequence, deliveryAttempt } = event;
  const acknowledges = method === 'consume' && seen++ < acknowledge;
  if (acknowledges) {
    call.write({ ack: sequence });
    call.write({ credit: 1 });
  }
  say({ sequence, attempt: deliveryAttempt, acknowledged: acknowledges });
});
// A parent that has gone leaves nothing behind.
process.on('disconnect', () => process.exit());
