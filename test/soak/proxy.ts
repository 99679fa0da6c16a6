// A TCP proxy that breaks connections when it is told to. MILLRACE_SOAK has the ports: where it listens,
// and where each of them leads.

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface ProxySettings {
  readonly routes: readonly { readonly from: number; readonly to: number }[];
}

/** How a connection is broken. */
export type Cut =
  /** Both sides hear a reset. */
  | 'reset'
  /** Both sides hear a regular end of TCP, in the middle of HTTP/2. */
  | 'end'
  /** Only the client hears of it; the server's side is reset a little later. */
  | 'client-first';

const { routes } = JSON.parse(process.env['MILLRACE_SOAK'] ?? '{}') as ProxySettings;
const pairs = new Set<readonly [client: Socket, server: Socket]>();

function join(client: Socket, to: number): void {
  const server = connect({ port: to, host: '127.0.0.1', noDelay: true });
  client.setNoDelay(true);
  const pair = [client, server] as const;
  pairs.add(pair);
  for (const [one, other] of [pair, [server, client]] as const) {
    one.pipe(other);
    one.on('error', () => other.resetAndDestroy());
    one.on('close', () => {
      pairs.delete(pair);
      other.destroy();
    });
  }
}

function cut(how: Cut, number: number): void {
  const pair = [...pairs][number % Math.max(1, pairs.size)];
  if (pair === undefined) return;
  const [client, server] = pair;
  if (how === 'reset') {
    client.resetAndDestroy();
    server.resetAndDestroy();
  } else if (how === 'end') {
    client.unpipe();
    server.unpipe();
    client.destroySoon();
    server.destroySoon();
  } else client.resetAndDestroy();
}

for (const { from, to } of routes) {
  const listener = createServer((client) => join(client, to)).listen(from, '127.0.0.1');
  await once(listener, 'listening');
}
process.on('message', ({ how, number }: { how: Cut; number: number }) => cut(how, number));
process.on('disconnect', () => process.exit());
process.send?.({ listening: true });
