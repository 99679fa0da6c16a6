// What each thread of such a server serves.

import { nats, pubSub } from '@millrace/pubsub';
import type { ServerSettings } from './options.js';

const {
  port: _port,
  threads: _threads,
  nats: natsOptions,
  ...options
} = JSON.parse(process.env['MILLRACE_ENDURANCE'] ?? '{}') as ServerSettings;

export const events = pubSub({ ...options, backplane: nats(natsOptions) });
