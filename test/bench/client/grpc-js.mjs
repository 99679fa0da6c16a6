// The peer: @grpc/grpc-js with proto-loader, in the form that is fastest there.

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { answers, control } from './control.mjs';

const proto = fileURLToPath(
  new URL('../../../protos/millrace/echo/v1/echo.proto', import.meta.url),
);
const { Echo } = /** @type {any} */ (grpc.loadPackageDefinition(loadSync(proto))).millrace.echo.v1;
const { version } = createRequire(import.meta.url)('@grpc/grpc-js/package.json');

control((port) => {
  const client = new Echo(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  return {
    name: `@grpc/grpc-js's client ${version}`,
    say: (request) =>
      new Promise((resolve, reject) => {
        client.Say(
          request,
          /** @param {unknown} error @param {any} reply */ (error, reply) => {
            if (error) reject(error);
            else resolve(reply);
          },
        );
      }),
    chat: (requests) =>
      new Promise((resolve, reject) => {
        const call = client.Chat();
        let good = 0;
        let next = 0;
        call.on('data', (/** @type {any} */ reply) => {
          const request = requests[next++];
          if (request !== undefined && answers(reply, request)) good++;
        });
        call.on('error', reject);
        call.on('end', () => resolve(good));
        let at = 0;
        const write = () => {
          while (at < requests.length) {
            if (!call.write(requests[at++])) {
              call.once('drain', write);
              return;
            }
          }
          call.end();
        };
        write();
      }),
    close: () => client.close(),
  };
});
