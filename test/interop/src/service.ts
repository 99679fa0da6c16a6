// grpc.testing.TestService, which every gRPC project offers to the clients of the others.
//
// Source: https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md (Server)

import { setTimeout as sleep } from 'node:timers/promises';
import { type Context, Status, StatusError, service } from 'millrace';
import {
  type BoolValue,
  type EchoStatus,
  type Payload,
  PayloadType,
  type SimpleRequest,
  type SimpleResponseInit,
  type StreamingOutputCallRequest,
  type StreamingOutputCallResponseInit,
  TestService,
} from './gen/grpc/testing/test.js';

export const ECHO_INITIAL = 'x-grpc-test-echo-initial';
export const ECHO_TRAILING = 'x-grpc-test-echo-trailing-bin';

/** What a client may ask for at most: one message as the suites' clients receive it. */
const PAYLOAD_BYTES_MAX = 4 << 20;

const serverId = `millrace-${process.pid}`;

/**
 * The service, for `serve`. UnimplementedCall ends with UNIMPLEMENTED, as a method that the server
 * does not have.
 */
export const testService = service(TestService, {
  async emptyCall() {
    return {};
  },
  unaryCall: unary,
  cacheableUnaryCall: unary,

  async *streamingOutputCall(request, ctx) {
    yield* responses(request, ctx);
  },

  async streamingInputCall(requests, ctx) {
    let bytes = 0;
    for await (const { payload, expectCompressed } of requests) {
      checkCompression(expectCompressed, ctx);
      bytes += payload?.body.length ?? 0;
    }
    return { aggregatedPayloadSize: bytes };
  },

  async *fullDuplexCall(requests, ctx) {
    echoMetadata(ctx);
    for await (const request of requests) {
      failIfAsked(request.responseStatus);
      yield* responses(request, ctx);
    }
  },

  async *halfDuplexCall(requests, ctx) {
    echoMetadata(ctx);
    const all: StreamingOutputCallRequest[] = [];
    for await (const request of requests) all.push(request);
    for (const request of all) {
      failIfAsked(request.responseStatus);
      yield* responses(request, ctx);
    }
  },

  unimplementedCall(_request, ctx) {
    throw new StatusError(Status.UNIMPLEMENTED, `${ctx.method.path} is not implemented`);
  },
});

async function unary(request: SimpleRequest, ctx: Context): Promise<SimpleResponseInit> {
  checkCompression(request.expectCompressed, ctx);
  compressIfAsked(request.responseCompressed, ctx);
  echoMetadata(ctx);
  failIfAsked(request.responseStatus);
  return {
    payload: payload(request.responseType, request.responseSize),
    ...(request.fillServerId ? { serverId } : {}),
  };
}

async function* responses(
  request: StreamingOutputCallRequest,
  ctx: Context,
): AsyncGenerator<StreamingOutputCallResponseInit> {
  for (const { size, intervalUs, compressed } of request.responseParameters) {
    compressIfAsked(compressed, ctx);
    if (intervalUs > 0) {
      await sleep(intervalUs / 1000, undefined, { signal: ctx.signal }).catch(() => {
        throw ctx.signal.reason;
      });
    }
    yield { payload: payload(request.responseType, size) };
  }
}

/** Gives the two fields of metadata back that the suites send, one with the headers. */
function echoMetadata(ctx: Context): void {
  const trailing = ctx.metadata.get(ECHO_TRAILING);
  if (trailing !== undefined) ctx.trailers.set(ECHO_TRAILING, trailing);
  const initial = ctx.metadata.get(ECHO_INITIAL);
  if (initial !== undefined) ctx.sendHeaders({ [ECHO_INITIAL]: initial });
}

/** A client that says how its request is to come wants to hear when it does not. */
function checkCompression(expected: BoolValue | undefined, ctx: Context): void {
  const { received } = ctx.compression;
  if (expected === undefined || expected.value === received) return;
  throw new StatusError(
    Status.INVALID_ARGUMENT,
    `the request came ${received ? '' : 'un'}compressed, other than expect_compressed says`,
  );
}

/** Asks for compression even where a message is not to have it: the encoding is the whole stream's. */
function compressIfAsked(asked: BoolValue | undefined, ctx: Context): void {
  if (asked === undefined) return;
  ctx.compression.encoding = 'gzip';
  ctx.compression.enabled = asked.value;
}

function failIfAsked(status: EchoStatus | undefined): void {
  if (status !== undefined && status.code !== 0) {
    throw new StatusError(status.code as Status, status.message);
  }
}

function payload(type: PayloadType, bytes: number): Payload {
  if (type !== PayloadType.COMPRESSABLE) {
    throw new StatusError(Status.INVALID_ARGUMENT, `there is no payload of type ${type}`);
  }
  if (bytes < 0 || bytes > PAYLOAD_BYTES_MAX) {
    throw new StatusError(
      Status.INVALID_ARGUMENT,
      `a payload of ${bytes} bytes was asked for; 0 to ${PAYLOAD_BYTES_MAX} are possible`,
    );
  }
  return { type, body: new Uint8Array(bytes) };
}
