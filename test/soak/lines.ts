// The connections over which calls are made.

import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import {
  type Client,
  type Connection,
  type ConnectionOptions,
  connect,
  connection,
  type ServiceConfig,
} from 'millrace';
import type { Fleet } from './fleet.js';

/** A connection, and what is to be expected of it. */
export interface Line {
  readonly name: string;
  readonly connection: Connection;
  readonly client: Client<typeof Echo>;
  /** Its servers are killed and its connections broken: calls may end UNAVAILABLE. */
  readonly rough: boolean;
  /** UNAVAILABLE from the server is retried, so often at most. */
  readonly retries: number;
  /** HTTP/2 connections when all is well. */
  readonly connections: number;
}

const SERVICE = 'millrace.echo.v1.Echo';

const retrying: ServiceConfig = {
  methodConfig: [
    {
      name: [{ service: SERVICE }],
      retryPolicy: {
        maxAttempts: 4,
        initialBackoff: '0.02s',
        maxBackoff: '0.5s',
        backoffMultiplier: 2,
        retryableStatusCodes: ['UNAVAILABLE'],
      },
    },
  ],
};

const hedging: ServiceConfig = {
  methodConfig: [
    {
      name: [{ service: SERVICE, method: 'Say' }],
      hedgingPolicy: {
        maxAttempts: 3,
        hedgingDelay: '0.01s',
        nonFatalStatusCodes: ['UNAVAILABLE'],
      },
    },
  ],
};

export function openLines(fleet: Fleet, options: ConnectionOptions): Line[] {
  function open(
    name: string,
    rough: boolean,
    connections: number,
    more: ConnectionOptions,
    retries = 0,
  ): Line {
    const made = connection(rough ? fleet.roughTarget : fleet.calmTarget, {
      // Servers are back within a second.
      backoff: { initialMs: 50, mostMs: 300 },
      ...options,
      ...more,
    });
    const client = connect(Echo, made);
    return { name, connection: made, client, rough, retries, connections };
  }
  const small = { ringBuffers: 64, streamWindowBytes: 16 * 1024 };
  return [
    open('calm, round robin', false, 3, { loadBalancing: 'round_robin' }),
    open('calm, pick first, retries', false, 1, { serviceConfig: retrying }, 3),
    open('calm, hedged', false, 3, { loadBalancing: 'round_robin', serviceConfig: hedging }),
    open('rough, round robin', true, 2, { loadBalancing: 'round_robin', limits: small }),
    open('rough, pick first, retries', true, 1, { serviceConfig: retrying, limits: small }, 3),
  ];
}
