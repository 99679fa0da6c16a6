// The test cases as @grpc/grpc-js runs them: a client that is not ours and needs nothing but npm.
//
// Source: https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const REQUEST_BYTES = [27_182, 8, 1828, 45_904];
const RESPONSE_BYTES = [31_415, 9, 2653, 58_979];
const [LARGE_REQUEST_BYTES, LARGE_RESPONSE_BYTES] = [271_828, 314_159];
const SOAK_CALLS = 10;
const DEADLINE_MS = 20_000;
const MESSAGE = '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n';

const proto = fileURLToPath(new URL('../../protos/grpc/testing/test.proto', import.meta.url));
const packages = loadSync(proto, { defaults: true });
/** @param {string} name */
const clientOf = (name) =>
  grpc.makeGenericClientConstructor(
    /** @type {grpc.ServiceDefinition} */ (packages[`grpc.testing.${name}`]),
    name,
  );
const TestClient = clientOf('TestService');
const UnimplementedClient = clientOf('UnimplementedService');

/** @typedef {InstanceType<typeof TestClient>} Client */

/** @param {number} bytes */
const payload = (bytes) => ({ body: Buffer.alloc(bytes) });

/**
 * @typedef {object} Server
 * @property {string} target host and port
 * @property {Buffer} [ca] PEM: speak TLS and trust this authority
 * @property {boolean} [compresses] requests, by gzip
 */

/** @type {Record<string, (client: Client, server: Server) => Promise<unknown>>} */
const cases = {
  async empty_unary(client) {
    assert.deepEqual((await unary(client, 'EmptyCall', {})).response, {});
  },
  async cacheable_unary(client) {
    const request = { payload: { body: Buffer.from('1234') }, responseSize: 4 };
    assert.equal(
      (await unary(client, 'CacheableUnaryCall', request)).response.payload.body.length,
      4,
    );
  },
  large_unary: largeUnary,
  async client_streaming(client) {
    const call = client['StreamingInputCall']?.(
      deadline(),
      (/** @type {any} */ error, /** @type {any} */ response) =>
        call.emit('answer', error, response),
    );
    const answer = once(call, 'answer');
    for (const bytes of REQUEST_BYTES) call.write({ payload: payload(bytes) });
    call.end();
    const [error, response] = await answer;
    assert.equal(error, null);
    assert.equal(response.aggregatedPayloadSize, 74_922);
  },
  async server_streaming(client) {
    const parameters = RESPONSE_BYTES.map((size) => ({ size }));
    const call = client['StreamingOutputCall']?.({ responseParameters: parameters }, deadline());
    assert.deepEqual(await sizes(call), RESPONSE_BYTES);
  },
  async ping_pong(client) {
    const call = client['FullDuplexCall']?.(deadline());
    const responses = call[Symbol.asyncIterator]();
    for (const [index, size] of RESPONSE_BYTES.entries()) {
      call.write({ responseParameters: [{ size }], payload: payload(REQUEST_BYTES[index] ?? 0) });
      assert.equal((await responses.next()).value.payload.body.length, size);
    }
    call.end();
    assert.equal((await responses.next()).done, true);
  },
  async empty_stream(client) {
    const call = client['FullDuplexCall']?.(deadline());
    call.end();
    assert.deepEqual(await sizes(call), []);
  },
  async custom_metadata(client) {
    const metadata = new grpc.Metadata();
    metadata.set('x-grpc-test-echo-initial', 'test_initial_metadata_value');
    metadata.set('x-grpc-test-echo-trailing-bin', Buffer.from('ababab', 'hex'));
    /** @param {grpc.Metadata} headers @param {grpc.Metadata} trailers */
    const check = (headers, trailers) => {
      assert.deepEqual(headers.get('x-grpc-test-echo-initial'), ['test_initial_metadata_value']);
      assert.deepEqual(trailers.get('x-grpc-test-echo-trailing-bin'), [
        Buffer.from('ababab', 'hex'),
      ]);
    };
    const one = await unary(client, 'UnaryCall', { responseSize: 1 }, metadata);
    check(one.headers, one.trailers);
    const call = client['FullDuplexCall']?.(metadata, deadline());
    const seen = Promise.all([once(call, 'metadata'), once(call, 'status')]);
    call.write({ responseParameters: [{ size: 1 }] });
    call.end();
    assert.deepEqual(await sizes(call), [1]);
    const [[headers], [status]] = await seen;
    check(headers, status.metadata);
  },
  async status_code_and_message(client) {
    const expected = { code: 2, details: 'test status message' };
    const request = { responseStatus: { code: 2, message: expected.details } };
    await fails(unary(client, 'UnaryCall', request), expected);
    const call = client['FullDuplexCall']?.(deadline());
    call.write(request);
    call.end();
    await fails(sizes(call), expected);
  },
  async special_status_message(client) {
    const request = { responseStatus: { code: 2, message: MESSAGE } };
    await fails(unary(client, 'UnaryCall', request), { code: 2, details: MESSAGE });
  },
  async unimplemented_method(client) {
    await fails(unary(client, 'UnimplementedCall', {}), { code: grpc.status.UNIMPLEMENTED });
  },
  async unimplemented_service(_client, server) {
    const other = new UnimplementedClient(...channelTo(server));
    try {
      await fails(unary(other, 'UnimplementedCall', {}), { code: grpc.status.UNIMPLEMENTED });
    } finally {
      other.close();
    }
  },
  async cancel_after_begin(client) {
    const call = client['StreamingInputCall']?.(deadline(), (/** @type {any} */ error) =>
      call.emit('answer', error),
    );
    const answer = once(call, 'answer');
    call.cancel();
    assert.equal((await answer)[0].code, grpc.status.CANCELLED);
  },
  async cancel_after_first_response(client) {
    const call = client['FullDuplexCall']?.(deadline());
    const responses = call[Symbol.asyncIterator]();
    call.write({ responseParameters: [{ size: 31_415 }], payload: payload(27_182) });
    assert.equal((await responses.next()).value.payload.body.length, 31_415);
    call.cancel();
    await fails(responses.next(), { code: grpc.status.CANCELLED });
  },
  async timeout_on_sleeping_server(client) {
    const call = client['FullDuplexCall']?.({ deadline: Date.now() + 1 });
    call.write({ payload: payload(27_182) });
    await fails(sizes(call), { code: grpc.status.DEADLINE_EXCEEDED });
  },
  async rpc_soak(client) {
    for (let i = 0; i < SOAK_CALLS; i++) await largeUnary(client);
  },
  async channel_soak(_client, server) {
    for (let i = 0; i < SOAK_CALLS; i++) await withClient(server, largeUnary);
  },
};

/**
 * Those of compression but client_compressed_streaming, since there is no switch for single messages.
 * A caller does not see whether a response came compressed.
 *
 * @type {Record<string, (client: Client, server: Server) => Promise<unknown>>}
 */
const compressedCases = {
  async client_compressed_unary(client, server) {
    /** @param {boolean} value */
    const request = (value) => ({
      expectCompressed: { value },
      responseSize: LARGE_RESPONSE_BYTES,
      payload: payload(LARGE_REQUEST_BYTES),
    });
    const refused = { code: grpc.status.INVALID_ARGUMENT };
    await fails(unary(client, 'UnaryCall', request(true)), refused);
    await withClient({ ...server, compresses: true }, async (compressing) => {
      const { response } = await unary(compressing, 'UnaryCall', request(true));
      assert.equal(response.payload.body.length, LARGE_RESPONSE_BYTES);
      await fails(unary(compressing, 'UnaryCall', request(false)), refused);
    });
    const { response } = await unary(client, 'UnaryCall', request(false));
    assert.equal(response.payload.body.length, LARGE_RESPONSE_BYTES);
  },
  async server_compressed_unary(client) {
    for (const value of [true, false]) {
      const request = { responseCompressed: { value }, responseSize: LARGE_RESPONSE_BYTES };
      const { response } = await unary(client, 'UnaryCall', request);
      assert.equal(response.payload.body.length, LARGE_RESPONSE_BYTES);
    }
  },
  async server_compressed_streaming(client) {
    const responseParameters = [
      { compressed: { value: true }, size: 31_415 },
      { compressed: { value: false }, size: 92_653 },
    ];
    const call = client['StreamingOutputCall']?.({ responseParameters }, deadline());
    assert.deepEqual(await sizes(call), [31_415, 92_653]);
  },
};

/** What every server of TestService answers. */
export const CASES = Object.keys(cases);
export const COMPRESSED_CASES = Object.keys(compressedCases);

/**
 * Runs a case; it has failed when this rejects.
 *
 * @param {string} name
 * @param {Server} server
 */
export async function runCase(name, server) {
  const body = cases[name] ?? compressedCases[name];
  if (body === undefined) throw new Error(`there is no case ${name}`);
  await withClient(server, (client) => body(client, server));
}

/**
 * @param {Server} server
 * @param {(client: Client) => Promise<unknown>} body
 */
async function withClient(server, body) {
  const client = new TestClient(...channelTo(server));
  try {
    await body(client);
  } finally {
    client.close();
  }
}

/**
 * @param {Server} server
 * @returns {[string, grpc.ChannelCredentials, grpc.ChannelOptions]}
 */
function channelTo({ target, ca, compresses = false }) {
  // A pool of subchannels of its own, so that every client connects anew.
  const options = {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.default_compression_algorithm': compresses ? grpc.compressionAlgorithms.gzip : 0,
  };
  if (ca === undefined) return [target, grpc.credentials.createInsecure(), options];
  // Node.js would send an address as the server's name, and warns of that.
  const name = { 'grpc.ssl_target_name_override': 'localhost' };
  return [target, grpc.credentials.createSsl(ca), { ...options, ...name }];
}

/** @param {Client} client */
async function largeUnary(client) {
  const request = { responseSize: LARGE_RESPONSE_BYTES, payload: payload(LARGE_REQUEST_BYTES) };
  const { response } = await unary(client, 'UnaryCall', request);
  assert.equal(response.payload.body.length, LARGE_RESPONSE_BYTES);
}

/**
 * @param {Client} client
 * @param {string} method
 * @param {object} request
 * @param {grpc.Metadata} [metadata]
 * @returns {Promise<{ response: any, headers: grpc.Metadata, trailers: grpc.Metadata }>}
 */
function unary(client, method, request, metadata = new grpc.Metadata()) {
  return new Promise((resolve, reject) => {
    const none = new grpc.Metadata();
    let [response, headers] = [/** @type {any} */ (undefined), none];
    const call = client[method]?.(
      request,
      metadata,
      deadline(),
      (/** @type {any} */ error, /** @type {any} */ value) => {
        response = value;
        if (error !== null) reject(error);
      },
    );
    call.on('metadata', (/** @type {grpc.Metadata} */ given) => {
      headers = given;
    });
    call.on('status', (/** @type {grpc.StatusObject} */ status) =>
      resolve({ response, headers, trailers: status.metadata }),
    );
  });
}

function deadline() {
  return { deadline: Date.now() + DEADLINE_MS };
}

/** @param {AsyncIterable<any>} call */
async function sizes(call) {
  const all = [];
  for await (const response of call) all.push(response.payload.body.length);
  return all;
}

/**
 * @param {Promise<unknown>} outcome
 * @param {{ code: number, details?: string }} expected
 */
async function fails(outcome, { code, details }) {
  await assert.rejects(outcome, (/** @type {grpc.ServiceError} */ error) => {
    assert.equal(error.code, code);
    if (details !== undefined) assert.equal(error.details, details);
    return true;
  });
}
