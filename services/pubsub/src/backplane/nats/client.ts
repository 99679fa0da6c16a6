// The NATS client: optional peers, loaded only by who asks for this backplane.

import { createRequire } from 'node:module';
import type * as jetstream from '@nats-io/jetstream';
import type * as transport from '@nats-io/transport-node';

export type Transport = typeof transport;
export type JetStream = typeof jetstream;

/** What is needed of the client's packages. */
export interface Client {
  readonly connect: Transport['connect'];
  readonly createInbox: Transport['createInbox'];
  readonly headers: Transport['headers'];
  /** The client's classes of errors. */
  readonly errors: Transport['errors'];
  readonly jetstreamManager: JetStream['jetstreamManager'];
  readonly JetStreamApiError: JetStream['JetStreamApiError'];
}

/** Exactly this version: 3.4 needs a newer Node.js. */
const VERSION = '3.3.1';
const PACKAGES = ['@nats-io/transport-node', '@nats-io/jetstream'];

const require = createRequire(import.meta.url);

/**
 * Checks that the packages are there, so that a server does not start without them.
 *
 * @throws Error naming what is missing, and the command that installs it
 */
export function requireClient(resolve: (name: string) => string = require.resolve): void {
  const missing = PACKAGES.filter((name) => {
    try {
      resolve(name);
      return false;
    } catch {
      return true;
    }
  });
  if (missing.length === 0) return;
  const install = PACKAGES.map((name) => `${name}@${VERSION}`).join(' ');
  throw new Error(
    `the NATS backplane of @millrace/pubsub needs ${missing.join(' and ')}, which cannot be found: npm install ${install}`,
  );
}

/** Loads the packages. */
export async function loadClient(): Promise<Client> {
  const [{ connect, createInbox, headers, errors }, { jetstreamManager, JetStreamApiError }] =
    await Promise.all([import('@nats-io/transport-node'), import('@nats-io/jetstream')]);
  return { connect, createInbox, headers, errors, jetstreamManager, JetStreamApiError };
}
