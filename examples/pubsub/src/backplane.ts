// What carries events to other processes: nothing (`memory`, the default), or NATS with JetStream.

import { type Backplane, memory, nats } from '@millrace/pubsub';

const { BACKPLANE = 'memory', NATS_URL = 'nats://127.0.0.1:4222' } = process.env;

export const backplane = chosen();

function chosen(): Backplane {
  if (BACKPLANE === 'memory') return memory();
  if (BACKPLANE === 'nats') return nats({ servers: NATS_URL });
  throw new Error(`BACKPLANE is ${BACKPLANE}, but has to be memory or nats.`);
}
