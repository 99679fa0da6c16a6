import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { describe, expect, expectTypeOf, test } from 'vitest';
import {
  durationFromMs,
  durationToMs,
  findType,
  type MessageType,
  unpackAny,
} from '../codec/index.js';
import * as shipped from '../gen/google/rpc/error_details.js';
import { Note } from '../server/harness.test-support.js';
import {
  badRequest,
  decodeStatusDetails,
  detailOf,
  encodeStatusDetails,
  findDetail,
  type StatusDetail,
} from './details.js';
import { Status } from './status.js';
import { StatusError } from './status-error.js';

const { ErrorInfo, QuotaFailure, RetryInfo } = shipped;

/** Each type with a message that uses all of its fields, in the JSON form of protobuf. */
const samples = {
  ErrorInfo: { reason: 'OUT_OF_STOCK', domain: 'orders.example.com', metadata: { left: '0' } },
  RetryInfo: { retryDelay: '1.500s' },
  DebugInfo: { stackEntries: ['at a', 'at b'], detail: 'größer' },
  QuotaFailure: {
    violations: [
      {
        subject: 'project:blue',
        description: 'calls a day',
        apiService: 'orders',
        apiMetric: 'calls',
        quotaId: 'daily',
        quotaDimensions: { region: 'eu' },
        quotaValue: '9007199254740993',
        futureQuotaValue: '0',
      },
    ],
  },
  PreconditionFailure: {
    violations: [{ type: 'TERMS', subject: 'example.com', description: 'accept them' }],
  },
  BadRequest: {
    fieldViolations: [
      {
        field: 'items[2].price',
        description: 'negative',
        reason: 'NEGATIVE',
        localizedMessage: { locale: 'de-CH', message: 'negativ' },
      },
    ],
  },
  RequestInfo: { requestId: 'r-1', servingData: 'data' },
  ResourceInfo: { resourceType: 'order', resourceName: '7', owner: 'anna', description: 'gone' },
  Help: { links: [{ description: 'limits', url: 'https://example.com/limits' }] },
  LocalizedMessage: { locale: 'de-CH', message: 'Ausverkauft' },
};

/** Another implementation, with the contract as it is in the repository. */
const foreign = new protobuf.Root();
foreign.resolvePath = (_origin, target) =>
  target.startsWith('google/protobuf/')
    ? target
    : fileURLToPath(new URL(`../../../protos/${target}`, import.meta.url));
foreign.loadSync('google/rpc/error_details.proto');

describe.each(Object.entries(samples))('%s', (name, json) => {
  const type = findType(`google.rpc.${name}`) as MessageType<unknown>;
  const other = foreign.lookupType(`google.rpc.${name}`);

  test('is written so that protobufjs reads it, and the other way round', () => {
    const detail = detailOf(type, type.fromJson(json));
    expect(detail.typeUrl).toBe(`type.googleapis.com/google.rpc.${name}`);
    const read = other.toObject(other.decode(detail.value), { longs: String });
    expect(Object.keys(read).sort()).toEqual(Object.keys(json).sort());
    const written = other.encode(other.fromObject(read)).finish();
    const error = new StatusError(Status.UNKNOWN, '', {
      details: [{ typeUrl: detail.typeUrl, value: written }],
    });
    expect(type.toJson(error.detail(type))).toEqual(json);
  });
});

test('there is a sample of every type', () => {
  const top = Object.keys(shipped).filter((name) => /^[A-Z][A-Za-z]+$/.test(name));
  expect(top.sort()).toEqual(Object.keys(samples).sort());
});

test('details cross as google.rpc.Status', () => {
  // Bytes by hand, from google/rpc/status.proto and error_details.proto.
  const detail = badRequest([{ field: 'a.b', description: 'bad' }]);
  expect(detail.typeUrl).toBe('type.googleapis.com/google.rpc.BadRequest');
  expect([...detail.value]).toEqual([
    10,
    10,
    10,
    3,
    ...Buffer.from('a.b'),
    18,
    3,
    ...Buffer.from('bad'),
  ]);
  const status = encodeStatusDetails(3, 'm', [{ typeUrl: 't', value: new Uint8Array([7]) }]);
  expect([...status]).toEqual([8, 3, 18, 1, 109, 26, 6, 10, 1, 116, 18, 1, 7]);
  expect(decodeStatusDetails(status)).toEqual([{ typeUrl: 't', value: new Uint8Array([7]) }]);
});

test('bytes that are no google.rpc.Status have no details, and are told from one without any', () => {
  expect(decodeStatusDetails(new Uint8Array())).toEqual([]);
  for (const bytes of [[26], [26, 5, 10], [255], [26, 2, 10, 9]]) {
    expect(decodeStatusDetails(new Uint8Array(bytes))).toBeUndefined();
  }
});

describe('what an error carries', () => {
  const details: StatusDetail[] = [
    { typeUrl: 'type.googleapis.com/orders.v1.Unheard', value: new Uint8Array([8, 1]) },
    detailOf(RetryInfo, { retryDelay: durationFromMs(250) }),
    detailOf(Note, { text: 'first' }),
    detailOf(Note, { text: 'second' }),
  ];
  const error = new StatusError(Status.RESOURCE_EXHAUSTED, 'later', { details });

  test('is found by its type', () => {
    const info = error.detail(RetryInfo);
    expectTypeOf(info).toEqualTypeOf<shipped.RetryInfo | undefined>();
    expect(durationToMs(info!.retryDelay!)).toBe(250);
    expect(error.detail(Note)?.text).toBe('first');
    expect(findDetail(error, Note)?.text).toBe('first');
    expect(error.detail(QuotaFailure)).toBeUndefined();
    expect(new StatusError(Status.OK).detail(Note)).toBeUndefined();
  });

  test('stays at hand where its type is not known', () => {
    expect(error.details[0]).toEqual(details[0]);
    expect(unpackAny(Note, error.details[3]!)?.text).toBe('second');
  });

  test('is found whatever stands before the name, as google.protobuf.Any has it', () => {
    const { value } = details[1]!;
    for (const typeUrl of ['example.com/types/google.rpc.RetryInfo', '/google.rpc.RetryInfo']) {
      const other = new StatusError(Status.UNKNOWN, '', { details: [{ typeUrl, value }] });
      expect(other.detail(RetryInfo)).toEqual(error.detail(RetryInfo));
    }
  });

  test('that cannot be read is passed over, without another error', () => {
    const broken = { typeUrl: details[1]!.typeUrl, value: new Uint8Array([10, 9]) };
    expect(new StatusError(Status.UNKNOWN, '', { details: [broken] }).detail(RetryInfo)).toBe(
      undefined,
    );
    const both = new StatusError(Status.UNKNOWN, '', { details: [broken, details[1]!] });
    expect(both.detail(RetryInfo)).toEqual(error.detail(RetryInfo));
    expect(both.details).toHaveLength(2);
  });
});

test('what is given is checked, by the compiler and when it is written', () => {
  // @ts-expect-error: the field is called reason
  detailOf(ErrorInfo, { reasons: 'X' });
  // @ts-expect-error: violations have a field and a description
  expect(() => badRequest([{ field: 1 }])).toThrow('fieldViolations[0].field');
  // @ts-expect-error: milliseconds are no Duration
  expect(() => detailOf(RetryInfo, { retryDelay: 250 })).toThrow('retryDelay');
});
