// Rich statuses: what a handler attaches to an error reaches any client as `google.rpc.Status`, and
// what any server attaches is found by ours. The other side is grpc-js, with protobufjs for the
// details, which read the contracts for themselves.

import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { BadRequest, ErrorInfo, Help, QuotaFailure, RetryInfo, Status } from 'millrace';
import { durationToMs } from 'millrace/codec';
import protobuf from 'protobufjs';
import { expect, test } from 'vitest';
import { clientOf, expand, failure, say } from '../support/echo-client.js';
import { startForeign } from '../support/foreign-server.js';
import { all, ourClient, statusOf } from '../support/our-client.js';
import { startServer } from '../support/server.js';

const contracts = new protobuf.Root();
contracts.resolvePath = (_origin, target) =>
  target.startsWith('google/protobuf/')
    ? target
    : fileURLToPath(new URL(`../../protos/${target}`, import.meta.url));
contracts.loadSync('google/rpc/error_details.proto');
// google/rpc/status.proto, with the fields of google.protobuf.Any.
protobuf.parse(
  `syntax = "proto3"; package google.rpc;
   message Detail { string type_url = 1; bytes value = 2; }
   message Status { int32 code = 1; string message = 2; repeated Detail details = 3; }`,
  contracts,
);
const ForeignStatus = contracts.lookupType('google.rpc.Status');

interface ReadStatus {
  readonly code: number;
  readonly message: string;
  readonly details: readonly { readonly typeUrl: string; readonly value: Uint8Array }[];
}

/** What a client of another make reads. */
function read(error: grpc.ServiceError): ReadStatus {
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  return ForeignStatus.decode(bytes as Buffer) as unknown as ReadStatus;
}

function decoded({ typeUrl, value }: ReadStatus['details'][number]): object {
  const type = contracts.lookupType(typeUrl.slice('type.googleapis.com/'.length));
  return type.toObject(type.decode(value), { longs: Number });
}

/** What a server of another make writes. */
function status(code: number, message: string, details: [name: string, fields: object][]) {
  const packed = details.map(([name, fields]) => ({
    typeUrl: `type.googleapis.com/google.rpc.${name}`,
    value: contracts.lookupType(`google.rpc.${name}`).encode(fields).finish(),
  }));
  return Buffer.from(ForeignStatus.encode({ code, message, details: packed }).finish());
}

test('another client reads what a handler attached', async () => {
  const client = clientOf(await startServer());
  for (const call of [
    () => say(client, {}, { mode: 'details' }),
    // Trailers behind a message, and trailers alone.
    () => expand(client, { count: 1 }, { mode: 'details' }),
    () => expand(client, { count: 0 }, { mode: 'details' }),
  ]) {
    const error = await failure(call());
    expect(error.code).toBe(Status.RESOURCE_EXHAUSTED);
    expect(error.details).toBe('größer als erlaubt');
    expect(error.metadata.get('x-trailer')).toEqual(['set']);
    const { code, message, details } = read(error);
    expect({ code, message }).toEqual({ code: error.code, message: error.details });
    const [unheard, ...known] = details;
    expect(unheard?.typeUrl).toBe('type.googleapis.com/orders.v1.Unheard');
    expect([...unheard!.value]).toEqual([8, 1]);
    expect(known.map(decoded)).toEqual([
      { reason: 'OUT_OF_STOCK', metadata: { left: '0' } },
      { retryDelay: { seconds: 1, nanos: 500_000_000 } },
      { fieldViolations: [{ field: 'items[2].price', description: 'negative' }] },
      { links: [{ description: 'limits', url: 'https://example.com/' }] },
    ]);
  }
});

test('our client reads what another server attached', async () => {
  const fail = {
    code: grpc.status.FAILED_PRECONDITION,
    details: 'not now',
    metadata: new grpc.Metadata(),
  };
  fail.metadata.set('x-trailer', 'set');
  fail.metadata.set(
    'grpc-status-details-bin',
    status(fail.code, fail.details, [
      ['ErrorInfo', { reason: 'CLOSED', domain: 'orders', metadata: { opens: '9' } }],
      ['QuotaFailure', { violations: [{ subject: 'project:blue', quotaValue: 5 }] }],
      ['RetryInfo', { retryDelay: { seconds: 2, nanos: 1_000_000 } }],
    ]),
  );
  const { port } = await startForeign({
    say: (_call: unknown, callback: grpc.sendUnaryData<object>) => callback(fail),
    expand: (call: grpc.ServerWritableStream<object, object>) => {
      call.write({ text: 'before' });
      call.emit('error', fail);
    },
  });
  const client = ourClient(port);
  for (const call of [() => client.say({}), () => all(client.expand({}))]) {
    const error = await statusOf(call());
    expect(error).toMatchObject({ code: Status.FAILED_PRECONDITION, message: 'not now' });
    expect(error.detail(ErrorInfo)).toEqual({
      reason: 'CLOSED',
      domain: 'orders',
      metadata: new Map([['opens', '9']]),
    });
    expect(error.detail(QuotaFailure)?.violations[0]).toMatchObject({
      subject: 'project:blue',
      quotaValue: 5n,
    });
    expect(durationToMs(error.detail(RetryInfo)!.retryDelay!)).toBe(2001);
    expect(error.detail(BadRequest)).toBeUndefined();
    expect(error.metadata.get('x-trailer')).toBe('set');
    expect(error.metadata.has('grpc-status-details-bin')).toBe(false);
  }
});

test('our client reads what our server attached, and keeps what it does not know', async () => {
  const client = ourClient((await startServer()).port);
  const error = await statusOf(client.say({}, { metadata: { mode: 'details' } }));
  expect(error.details[0]).toEqual({
    typeUrl: 'type.googleapis.com/orders.v1.Unheard',
    value: new Uint8Array([8, 1]),
  });
  expect(error.detail(Help)?.links).toEqual([
    { description: 'limits', url: 'https://example.com/' },
  ]);
});

test('details that cannot be read hide neither the status nor themselves', async () => {
  const metadata = new grpc.Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from([255, 255]));
  const { port } = await startForeign({
    say: (_call: unknown, callback: grpc.sendUnaryData<object>) =>
      callback({ code: grpc.status.NOT_FOUND, details: 'no order 7', metadata }),
  });
  const error = await statusOf(ourClient(port).say({}));
  expect(error).toMatchObject({ code: Status.NOT_FOUND, message: 'no order 7', details: [] });
  expect([...error.metadata.get('grpc-status-details-bin')!]).toEqual([255, 255]);
});
