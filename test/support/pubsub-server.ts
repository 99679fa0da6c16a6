// A server with pub/sub in the process of the test, on the driver of the run.

import { type AttachedPubSub, type PubSubOptions, pubSub } from '@millrace/pubsub';
import { type ServeOptions, type Server, serve } from 'millrace';
import { onTestFinished } from 'vitest';
import { eventually } from './eventually.js';

export interface PubSubServer {
  readonly port: number;
  readonly server: Server;
  readonly events: AttachedPubSub;
}

let spaces = 0;

/** Serves pub/sub in a space of its own until the test is finished. */
export async function servePubSub(
  options: PubSubOptions = {},
  serveOptions: Partial<ServeOptions> = {},
): Promise<PubSubServer> {
  const events = pubSub({ space: `test-${++spaces}`, ...options });
  const server = await serve({
    services: [events],
    port: 0,
    log: { level: 'silent' },
    signals: false,
    ...serveOptions,
  });
  onTestFinished(async () => {
    await server.close({ drainTimeoutMs: 500 });
  });
  return { port: server.port, server, events };
}

/**
 * Waits until so many subscriptions are left. A client knows that it has cancelled a call before its
 * RST_STREAM leaves, which may be behind what it sends next: no later answer tells.
 */
export async function subscriptionsLeft({ events }: PubSubServer, count: number): Promise<void> {
  await eventually(
    `${count} subscriptions are left`,
    () => Object.values(events.stats().topics).map(({ subscriptions }) => subscriptions),
    (subscriptions) => subscriptions.reduce((sum, one) => sum + one, 0) === count,
  );
}
