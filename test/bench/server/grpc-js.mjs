// The peer: @grpc/grpc-js with @grpc/proto-loader, both with their default settings, and handlers
// in the form that is fastest there (events; `for await` over a call is slower). Words: the files of
// a certificate and its key, for TLS.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { control } from './control.mjs';

const proto = fileURLToPath(
  new URL('../../../protos/millrace/echo/v1/echo.proto', import.meta.url),
);
const { Echo } = /** @type {any} */ (grpc.loadPackageDefinition(loadSync(proto))).millrace.echo.v1;
const require = createRequire(import.meta.url);
const version = require('@grpc/grpc-js/package.json').version;

/** @param {{ text: string, data: Buffer }} request */
const reply = ({ text, data }) => ({ text, data });

/** @param {grpc.ServerDuplexStream<any, any>} call */
function chat(call) {
  call.on('data', (request) => call.write(reply(request)));
  call.on('end', () => call.end());
}

const server = new grpc.Server();
server.addService(Echo.service, {
  /**
   * @param {grpc.ServerUnaryCall<any, any>} call
   * @param {grpc.sendUnaryData<any>} callback
   */
  Say: (call, callback) => callback(null, reply(call.request)),
  Chat: chat,
  ChatFast: chat,
});

const [cert, key] = process.argv.slice(2);
const credentials =
  cert === undefined || key === undefined
    ? grpc.ServerCredentials.createInsecure()
    : grpc.ServerCredentials.createSsl(null, [
        { cert_chain: readFileSync(cert), private_key: readFileSync(key) },
      ]);
server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
  if (error !== null) throw error;
  control({
    port,
    name: `@grpc/grpc-js ${version}, proto-loader, default settings`,
    stats: async () => ({}),
    close: async () => server.forceShutdown(),
  });
});
