// The echo contract passed on to another server: every handler makes the same call there, on behalf of
// its own, and hands on what comes either way.

import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import {
  type CallOptions,
  type Connection,
  type Context,
  connect,
  connection,
  type Service,
  service,
} from 'millrace';

export function forwarding(
  target: string,
  limits: Record<string, number>,
): { service: Service; connection: Connection } {
  const made = connection(target, { limits, backoff: { initialMs: 50, mostMs: 100 } });
  const client = connect(Echo, made);
  const options = (parent: Context): CallOptions => ({
    parent,
    metadata: { mode: String(parent.metadata.get('mode') ?? '') },
  });
  return {
    connection: made,
    service: service(Echo, {
      say: (request, ctx) => client.say(request, options(ctx)),
      collect: (requests, ctx) => client.collect(requests, options(ctx)),
      async *expand(request, ctx) {
        yield* client.expand(request, options(ctx));
      },
      async *chat(requests, ctx) {
        yield* client.chat(requests, options(ctx));
      },
      async *chatFast(requests, ctx) {
        yield* client.chatFast(requests, options(ctx));
      },
    }),
  };
}
