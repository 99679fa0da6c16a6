// A server of the endurance test, and of others that need pub/sub over NATS in processes of their own.

import { serve } from 'millrace';
import type { ServerSettings } from './options.js';

const { port, threads = 1 } = JSON.parse(
  process.env['MILLRACE_ENDURANCE'] ?? '{}',
) as ServerSettings;

const server = await serve({
  services: new URL('./services.js', import.meta.url),
  host: '127.0.0.1',
  port,
  threads,
});
process.send?.({ port: server.port });
