// What the tests over NATS begin with: a nats-server for all of a file, and a space for each of them.

import { randomBytes } from 'node:crypto';
import type { NatsOptions } from '@millrace/pubsub';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { closeNodes, Node } from './nats-link.js';
import { NatsServer } from './nats-server.js';

export interface NatsSetting {
  readonly server: NatsServer;
  /** Of the test that runs: no other one sees what it publishes. */
  readonly space: string;
  /** The stream of that space in NATS. */
  readonly stream: string;
  /** What a server process needs to join: for `startNatsNode`. */
  readonly settings: { readonly space: string; readonly nats: { readonly servers: string } };
  /** A link in that space, closed when the test is over. */
  node(options?: NatsOptions): Node;
}

/** For the tests of the `describe` that it is called in; what it gives holds while one of them runs. */
export function natsSetting(): NatsSetting {
  let server: NatsServer | undefined;
  let space = '';

  beforeAll(async () => {
    server = await NatsServer.start();
  });
  beforeEach(() => {
    space = `test-${randomBytes(6).toString('hex')}`;
  });
  afterEach(closeNodes);
  afterAll(async () => {
    await server?.stop();
  });

  return {
    get server() {
      return server!;
    },
    get space() {
      return space;
    },
    get stream() {
      return `MILLRACE_${space}`;
    },
    get settings() {
      return { space, nats: { servers: server!.address } };
    },
    node: (options) => new Node(server!, space, options),
  };
}
