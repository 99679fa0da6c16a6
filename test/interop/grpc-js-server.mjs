// grpc.testing.TestService by @grpc/grpc-js: a server that is not ours and needs nothing but npm.
// Prints a line of JSON when it listens, and runs until it is killed:
// `node test/interop/grpc-js-server.mjs [--port 10000] [--tls_cert_file cert.pem --tls_key_file key.pem]`.
//
// Source: https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md (Server)

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const ECHO_INITIAL = 'x-grpc-test-echo-initial';
const ECHO_TRAILING = 'x-grpc-test-echo-trailing-bin';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '10000' },
    tls_cert_file: { type: 'string' },
    tls_key_file: { type: 'string' },
  },
});

const proto = fileURLToPath(new URL('../../protos/grpc/testing/test.proto', import.meta.url));
const packages = loadSync(proto, { defaults: true });
const definition = /** @type {grpc.ServiceDefinition} */ (packages['grpc.testing.TestService']);

/** @param {number} bytes */
const payload = (bytes) => ({ body: Buffer.alloc(bytes) });

/**
 * Gives the two fields of metadata back that the suites send, one with the headers.
 *
 * @param {grpc.ServerUnaryCall<any, any> | grpc.ServerDuplexStream<any, any>} call
 * @returns {grpc.Metadata} the trailers
 */
function echoMetadata(call) {
  const [headers, trailers] = [new grpc.Metadata(), new grpc.Metadata()];
  for (const value of call.metadata.get(ECHO_INITIAL)) headers.add(ECHO_INITIAL, value);
  for (const value of call.metadata.get(ECHO_TRAILING)) trailers.add(ECHO_TRAILING, value);
  if (call.metadata.get(ECHO_INITIAL).length > 0) call.sendMetadata(headers);
  return trailers;
}

/** @type {grpc.handleUnaryCall<any, any>} */
function unary(call, callback) {
  const trailers = echoMetadata(call);
  const { responseStatus: status, responseSize } = call.request;
  if (status !== null && status.code !== 0) {
    return callback({ code: status.code, details: status.message, metadata: trailers });
  }
  callback(null, { payload: payload(responseSize) }, trailers);
}

/**
 * @param {grpc.ServerWritableStream<any, any> | grpc.ServerDuplexStream<any, any>} call
 * @param {any} request
 */
async function respond(call, request) {
  for (const { size, intervalUs } of request.responseParameters) {
    if (intervalUs > 0) await sleep(intervalUs / 1000);
    if (call.cancelled) return;
    call.write({ payload: payload(size) });
  }
}

/** @param {grpc.ServerDuplexStream<any, any>} call */
function fullDuplex(call) {
  const trailers = echoMetadata(call);
  // Not `for await`, which destroys the call at the end of the requests, before it is answered.
  call.on('data', async (request) => {
    const { responseStatus: status } = request;
    if (status !== null && status.code !== 0) {
      call.emit('error', { code: status.code, details: status.message, metadata: trailers });
      return;
    }
    call.pause();
    await respond(call, request);
    call.resume();
  });
  call.on('end', () => call.end(trailers));
}

/** @param {grpc.ServerDuplexStream<any, any>} call */
function halfDuplex(call) {
  const trailers = echoMetadata(call);
  /** @type {any[]} */
  const requests = [];
  call.on('data', (request) => requests.push(request));
  call.on('end', async () => {
    for (const request of requests) await respond(call, request);
    call.end(trailers);
  });
}

const server = new grpc.Server();
// UnimplementedCall is left out: grpc-js answers UNIMPLEMENTED.
server.addService(definition, {
  /** @type {grpc.handleUnaryCall<any, any>} */
  EmptyCall: (_call, callback) => callback(null, {}),
  UnaryCall: unary,
  CacheableUnaryCall: unary,
  /** @param {grpc.ServerWritableStream<any, any>} call */
  StreamingOutputCall: async (call) => {
    await respond(call, call.request);
    call.end();
  },
  /**
   * @param {grpc.ServerReadableStream<any, any>} call
   * @param {grpc.sendUnaryData<any>} callback
   */
  StreamingInputCall: (call, callback) => {
    let bytes = 0;
    call.on('data', (request) => {
      bytes += request.payload?.body.length ?? 0;
    });
    call.on('end', () => callback(null, { aggregatedPayloadSize: bytes }));
  },
  FullDuplexCall: fullDuplex,
  HalfDuplexCall: halfDuplex,
});

const { tls_cert_file: cert, tls_key_file: key } = values;
const credentials =
  cert === undefined || key === undefined
    ? grpc.ServerCredentials.createInsecure()
    : grpc.ServerCredentials.createSsl(null, [
        { cert_chain: readFileSync(cert), private_key: readFileSync(key) },
      ]);
server.bindAsync(`127.0.0.1:${values.port}`, credentials, (error, port) => {
  if (error !== null) throw error;
  console.log(JSON.stringify({ msg: 'listening', port }));
});
