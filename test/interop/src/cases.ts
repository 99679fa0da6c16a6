// The test cases as our own client runs them.
//
// Source: https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md

import assert from 'node:assert/strict';
import { type Connection, connect, connection, Status, type UnaryCall } from 'millrace';
import {
  type Case,
  fails,
  LARGE_REQUEST_BYTES,
  LARGE_RESPONSE_BYTES,
  payload,
  type Server,
  sizes,
  type TestClient,
  timeoutMs,
} from './case.js';
import { compressedCases } from './compressed-cases.js';
import { TestService, UnimplementedService } from './gen/grpc/testing/test.js';
import { ECHO_INITIAL, ECHO_TRAILING } from './service.js';

const REQUEST_BYTES = [27_182, 8, 1828, 45_904];
const RESPONSE_BYTES = [31_415, 9, 2653, 58_979];
const SOAK_CALLS = 10;
const MESSAGE = '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n';

const cases: Readonly<Record<string, Case>> = {
  async empty_unary(client) {
    assert.deepEqual(await client.emptyCall({}, { timeoutMs }), {});
  },
  async cacheable_unary(client) {
    const request = { payload: payload(4), responseSize: 4 };
    const reply = await client.cacheableUnaryCall(request, { timeoutMs });
    assert.equal(reply.payload?.body.length, 4);
  },
  large_unary: largeUnary,
  async client_streaming(client) {
    async function* requests() {
      for (const bytes of REQUEST_BYTES) yield { payload: payload(bytes) };
    }
    const reply = await client.streamingInputCall(requests(), { timeoutMs });
    assert.equal(reply.aggregatedPayloadSize, 74_922);
  },
  async server_streaming(client) {
    const responseParameters = RESPONSE_BYTES.map((size) => ({ size }));
    const call = client.streamingOutputCall({ responseParameters }, { timeoutMs });
    assert.deepEqual(await sizes(call), RESPONSE_BYTES);
  },
  async ping_pong(client) {
    const call = client.fullDuplexCall(undefined, { timeoutMs });
    for (const [index, size] of RESPONSE_BYTES.entries()) {
      call.write({ responseParameters: [{ size }], payload: payload(REQUEST_BYTES[index] ?? 0) });
      const { value } = await call.next();
      assert.equal(value?.payload?.body.length, size);
    }
    call.end();
    assert.equal((await call.next()).done, true);
  },
  async empty_stream(client) {
    const call = client.fullDuplexCall(undefined, { timeoutMs });
    call.end();
    assert.deepEqual(await sizes(call), []);
  },
  async custom_metadata(client) {
    const trailing = new Uint8Array([0xab, 0xab, 0xab]);
    const metadata = { [ECHO_INITIAL]: 'test_initial_metadata_value', [ECHO_TRAILING]: trailing };
    const check = async ({
      headers,
      trailers,
    }: Pick<UnaryCall<unknown>, 'headers' | 'trailers'>) => {
      assert.deepEqual((await headers).getAll(ECHO_INITIAL), ['test_initial_metadata_value']);
      const values = (await trailers).getAll(ECHO_TRAILING);
      assert.deepEqual(
        values.map((value) => [...value]),
        [[...trailing]],
      );
    };
    const one = client.unaryCall({ responseSize: 1 }, { metadata, timeoutMs });
    assert.equal((await one).payload?.body.length, 1);
    await check(one);
    const call = client.fullDuplexCall(undefined, { metadata, timeoutMs });
    call.write({ responseParameters: [{ size: 1 }] });
    call.end();
    assert.deepEqual(await sizes(call), [1]);
    await check(call);
  },
  async status_code_and_message(client) {
    const message = 'test status message';
    const request = { responseStatus: { code: 2, message } };
    await fails(client.unaryCall(request, { timeoutMs }), Status.UNKNOWN, message);
    const call = client.fullDuplexCall(undefined, { timeoutMs });
    call.write(request);
    call.end();
    await fails(sizes(call), Status.UNKNOWN, message);
  },
  async special_status_message(client) {
    const request = { responseStatus: { code: 2, message: MESSAGE } };
    await fails(client.unaryCall(request, { timeoutMs }), Status.UNKNOWN, MESSAGE);
  },
  async unimplemented_method(client) {
    await fails(client.unimplementedCall({}, { timeoutMs }), Status.UNIMPLEMENTED);
  },
  async unimplemented_service(_client, shared) {
    const other = connect(UnimplementedService, shared);
    await fails(other.unimplementedCall({}, { timeoutMs }), Status.UNIMPLEMENTED);
  },
  async cancel_after_begin(client) {
    const call = client.streamingInputCall(undefined, { timeoutMs });
    call.cancel();
    await fails(call.response, Status.CANCELLED);
  },
  async cancel_after_first_response(client) {
    const call = client.fullDuplexCall(undefined, { timeoutMs });
    call.write({ responseParameters: [{ size: 31_415 }], payload: payload(27_182) });
    assert.equal((await call.next()).value?.payload?.body.length, 31_415);
    call.cancel();
    await fails(call.next(), Status.CANCELLED);
  },
  async timeout_on_sleeping_server(client) {
    // Connected before, so that the call and not the connection takes the time.
    await client.emptyCall({}, { timeoutMs });
    const call = client.fullDuplexCall(undefined, { timeoutMs: 1 });
    call.write({ payload: payload(27_182) });
    await fails(sizes(call), Status.DEADLINE_EXCEEDED);
  },
  async rpc_soak(client) {
    for (let i = 0; i < SOAK_CALLS; i++) await largeUnary(client);
  },
  async channel_soak(_client, _shared, server) {
    for (let i = 0; i < SOAK_CALLS; i++) {
      await withConnection(server, (shared) => largeUnary(connect(TestService, shared)));
    }
  },
  ...compressedCases,
};

/** Cases that need nothing but the service, by their standard names; the last four compress. */
export const CASES: readonly string[] = Object.keys(cases);

/** Runs a case over a connection of its own; it has failed when this rejects. */
export async function runCase(name: string, server: Server): Promise<void> {
  const body = cases[name];
  if (body === undefined) throw new Error(`no case "${name}"; there are ${CASES.join(', ')}`);
  await withConnection(server, (shared) => body(connect(TestService, shared), shared, server));
}

async function withConnection(
  { target, tls }: Server,
  body: (shared: Connection) => Promise<void>,
) {
  const shared = connection(target, { tls });
  try {
    await body(shared);
  } finally {
    await shared.close();
  }
}

async function largeUnary(client: TestClient): Promise<void> {
  const request = { responseSize: LARGE_RESPONSE_BYTES, payload: payload(LARGE_REQUEST_BYTES) };
  const reply = await client.unaryCall(request, { timeoutMs });
  assert.equal(reply.payload?.body.length, LARGE_RESPONSE_BYTES);
}
