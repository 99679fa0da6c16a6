// The server of this soak: publish and subscribe with every policy allowed. It is questioned over the
// IPC channel.

import { pubSub } from '@millrace/pubsub';
import { serve } from 'millrace';
import type { ServerSettings } from './settings.js';

const { blockTimeoutMs } = JSON.parse(process.env['MILLRACE_SOAK'] ?? '{}') as ServerSettings;

const events = pubSub({
  topics: [{ pattern: '>', slowConsumer: ['drop-oldest', 'drop-newest', 'disconnect', 'block'] }],
  // Full within the first seconds, so that it is not taken for a leak.
  retention: { count: 1000 },
  blockTimeoutMs,
});

const server = await serve({
  services: [events],
  host: '127.0.0.1',
  port: 0,
  signals: false,
  log: { level: 'error' },
});

process.on('message', (question) => {
  if (question !== 'disconnected') return;
  const all = Object.values(events.stats().topics);
  process.send?.({ disconnected: all.reduce((sum, each) => sum + each.disconnected, 0) });
});
process.on('disconnect', () => process.exit(0));
process.send?.({ port: server.port });
