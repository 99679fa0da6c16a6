// The four cases of compression.
//
// Source: https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md

import assert from 'node:assert/strict';
import { Status } from 'millrace';
import {
  type Case,
  fails,
  LARGE_REQUEST_BYTES,
  LARGE_RESPONSE_BYTES,
  payload,
  timeoutMs,
} from './case.js';

const compressed = { timeoutMs, compression: 'gzip' } as const;
const plain = { timeoutMs };

export const compressedCases: Readonly<Record<string, Case>> = {
  async client_compressed_unary(client, _shared, { seesCompression }) {
    const request = (expected: boolean) => ({
      expectCompressed: { value: expected },
      responseSize: LARGE_RESPONSE_BYTES,
      payload: payload(LARGE_REQUEST_BYTES),
    });
    if (seesCompression) {
      await fails(client.unaryCall(request(true), plain), Status.INVALID_ARGUMENT);
    }
    for (const reply of [
      await client.unaryCall(request(true), compressed),
      await client.unaryCall(request(false), plain),
    ]) {
      assert.equal(reply.payload?.body.length, LARGE_RESPONSE_BYTES);
    }
  },
  async server_compressed_unary(client) {
    for (const value of [true, false]) {
      const call = client.unaryCall(
        {
          responseCompressed: { value },
          responseSize: LARGE_RESPONSE_BYTES,
          payload: payload(LARGE_REQUEST_BYTES),
        },
        plain,
      );
      assert.equal((await call).payload?.body.length, LARGE_RESPONSE_BYTES);
      assert.equal(call.compression.received, value, 'whether the response came compressed');
    }
  },
  async client_compressed_streaming(client, _shared, { seesCompression }) {
    const first = { expectCompressed: { value: true }, payload: payload(27_182) };
    const second = { expectCompressed: { value: false }, payload: payload(45_904) };
    if (seesCompression) {
      await fails(client.streamingInputCall([first], plain), Status.INVALID_ARGUMENT);
    }
    const call = client.streamingInputCall(undefined, compressed);
    call.write(first);
    call.compression.enabled = false;
    call.write(second);
    call.end();
    assert.equal((await call.response).aggregatedPayloadSize, 73_086);
  },
  async server_compressed_streaming(client) {
    const responseParameters = [
      { compressed: { value: true }, size: 31_415 },
      { compressed: { value: false }, size: 92_653 },
    ];
    const call = client.streamingOutputCall({ responseParameters }, plain);
    const seen: [received: boolean, bytes: number | undefined][] = [];
    for await (const { payload } of call) {
      seen.push([call.compression.received, payload?.body.length]);
    }
    assert.deepEqual(seen, [
      [true, 31_415],
      [false, 92_653],
    ]);
  },
};
