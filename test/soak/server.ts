// A server of the soak: SIGTERM drains it, and it is questioned over the IPC channel.

import { serve } from 'millrace';
import { Content } from '../support/content.js';
import type { ServerCounters, ServerSample, ServerSettings } from './options.js';
import { checkingEcho } from './service.js';
import { ownUse } from './use.js';

const settings = JSON.parse(process.env['MILLRACE_SOAK'] ?? '{}') as ServerSettings;
const counters: ServerCounters = { started: 0, ended: 0, wrong: 0 };

const server = await serve({
  services: [checkingEcho(new Content(settings.seed), counters)],
  host: '127.0.0.1',
  port: settings.port,
  limits: settings.limits,
  ...(settings.tls === undefined ? {} : { tls: settings.tls }),
});

async function sample(): Promise<ServerSample> {
  const use = await ownUse();
  const { threads } = await server.stats();
  return { use, counters, stats: threads[0]! };
}

process.on('message', async (question) => {
  if (question === 'sample') process.send?.({ sample: await sample() });
});
// After the drain, when nothing else is left to do.
process.once('beforeExit', () => {
  void sample().then((last) => process.send?.({ last }, () => process.exit()));
});
process.send?.({ listening: true });
// The channel alone must not keep a drained server alive.
process.channel?.unref();
