// Servers on a port of their own that answer as a test says, to see what a client makes of it.

import {
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
  type Settings,
} from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import { onTestFinished } from 'vitest';

/** Listens until the test is finished; the port. */
export async function listening(server: Pick<Server, 'listen' | 'address' | 'close'>) {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** An HTTP/2 server that knows nothing of gRPC; the port. */
export async function startHttp2(
  answer: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
  settings: Settings = {},
): Promise<number> {
  const server = createServer({ settings });
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => sessions.add(session));
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    answer(stream, headers);
  });
  onTestFinished(() => {
    for (const session of sessions) session.destroy();
  });
  return listening(server);
}
