// The server under test: configured by JSON in MILLRACE_TEST, questioned over the IPC channel.

import { type ServeOptions, serve } from 'millrace';
import { forwarding } from './forwarding.js';
import type { Answered, Asked, Listening, Question, ServerConfiguration } from './protocol.js';
import { counters, echo, openGate } from './services.js';

const configuration = JSON.parse(process.env['MILLRACE_TEST'] ?? '{}') as ServerConfiguration;
const { threads = 1, forwardTo, serve: serveOptions = {} } = configuration;

const modules = { echo: './services.js', pubsub: './pubsub-services.js' };
const module = new URL(modules[configuration.services ?? 'echo'], import.meta.url);

const forward = forwardTo && forwarding(forwardTo.target, forwardTo.limits ?? {});
const server = await serve({
  services:
    threads > 1 || configuration.services !== undefined
      ? module
      : [forward ? forward.service : echo],
  threads,
  ...('path' in serveOptions || 'descriptor' in serveOptions ? {} : { host: '127.0.0.1', port: 0 }),
  signals: configuration.signals ?? false,
  log: { level: configuration.logLevel ?? 'info' },
  limits: configuration.limits ?? {},
  ...serveOptions,
} as ServeOptions);

async function answer(question: Question): Promise<unknown> {
  switch (question) {
    case 'stats':
      return server.stats();
    case 'forwarding':
      return forward?.connection.stats();
    case 'counters':
      return counters;
    case 'memory':
      globalThis.gc?.();
      return process.memoryUsage();
    case 'release':
      openGate();
      return undefined;
    case 'reload':
      return server.reloadTls();
    case 'close':
      return server.close();
  }
}

process.on('message', async ({ id, question }: Asked) => {
  const said: Answered = await answer(question).then(
    (value) => ({ id, answer: value }),
    (error: unknown) => ({ id, answer: undefined, error: String(error) }),
  );
  process.send?.(said);
});

const listening: Listening = { listening: { port: server.port, driver: server.driver } };
process.send?.(listening);
// The channel alone must not keep a drained server alive.
process.channel?.unref();
