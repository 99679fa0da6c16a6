// Serves publish and subscribe. HOST, PORT (0 for any free one) and THREADS set it up here, BACKPLANE
// and NATS_URL in services.ts, LOG_LEVEL and MILLRACE_DRIVER in `serve`. SIGTERM and SIGINT drain it.

import { serve } from 'millrace';

const { env } = process;

const server = await serve({
  services: new URL('./services.js', import.meta.url),
  host: env['HOST'] ?? '127.0.0.1',
  port: Number(env['PORT'] ?? 50052),
  threads: Number(env['THREADS'] ?? 1),
});

// `kill -USR2 <pid>` logs what the server has counted so far.
process.on('SIGUSR2', async () => {
  server.logger.info({ stats: await server.stats() }, 'stats');
});
