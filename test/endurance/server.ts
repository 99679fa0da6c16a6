// A server of the endurance test, and of others that need pub/sub over NATS in processes of their own.

import { nats, pubSub } from '@millrace/pubsub';
import { serve } from 'millrace';
import type { ServerSettings } from './options.js';

const {
  port,
  nats: natsOptions,
  ...options
} = JSON.parse(process.env['MILLRACE_ENDURANCE'] ?? '{}') as ServerSettings;

const server = await serve({
  services: [pubSub({ ...options, backplane: nats(natsOptions) })],
  host: '127.0.0.1',
  port,
});
process.send?.({ port: server.port });
