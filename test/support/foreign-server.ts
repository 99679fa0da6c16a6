// A server that is not ours: @grpc/grpc-js, with handlers that the test gives.

import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { onTestFinished } from 'vitest';

const definition = loadSync(
  fileURLToPath(new URL('../../protos/millrace/echo/v1/echo.proto', import.meta.url)),
  { keepCase: false, longs: String, defaults: true },
);

/** Starts it on a free port, or on the one given; stopped when the test is finished. */
export async function startForeign(
  handlers: grpc.UntypedServiceImplementation,
  port = 0,
  options: grpc.ServerOptions = {},
  credentials = grpc.ServerCredentials.createInsecure(),
): Promise<{ port: number; server: grpc.Server }> {
  const server = new grpc.Server(options);
  server.addService(
    definition['millrace.echo.v1.Echo'] as unknown as grpc.ServiceDefinition,
    handlers,
  );
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, credentials, (error, found) =>
      error === null ? resolve(found) : reject(error),
    );
  });
  onTestFinished(() => server.forceShutdown());
  return { port: bound, server };
}

/** Handlers that answer as the service is meant to. */
export const honest: grpc.UntypedServiceImplementation = {
  say(call: grpc.ServerUnaryCall<object, object>, callback: grpc.sendUnaryData<object>) {
    const headers = new grpc.Metadata();
    headers.set('x-seen', String(call.metadata.get('x-sent')[0] ?? ''));
    call.sendMetadata(headers);
    const trailers = new grpc.Metadata();
    trailers.set('x-trailer-bin', Buffer.from([0, 255]));
    callback(null, call.request, trailers);
  },
  collect(
    call: grpc.ServerReadableStream<{ data: Buffer }, object>,
    callback: grpc.sendUnaryData<object>,
  ) {
    let count = 0;
    let bytes = 0;
    call.on('data', ({ data }: { data: Buffer }) => {
      count++;
      bytes += data.length;
    });
    call.on('end', () => callback(null, { count, bytes }));
  },
  expand(call: grpc.ServerWritableStream<{ count: number; text: string }, object>) {
    for (let index = 0; index < call.request.count; index++) {
      call.write({ text: call.request.text });
    }
    call.end();
  },
  chat(call: grpc.ServerDuplexStream<object, object>) {
    call.on('data', (message: object) => {
      if (!call.write(message)) {
        call.pause();
        call.once('drain', () => call.resume());
      }
    });
    call.on('end', () => call.end());
  },
  chatFast(call: grpc.ServerDuplexStream<object, object>) {
    call.on('data', (message: object) => call.write(message));
    call.on('end', () => call.end());
  },
};
