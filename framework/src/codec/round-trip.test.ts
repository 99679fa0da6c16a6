// Our codecs against protobufjs's reflection, which shares no code with them.

import { join } from 'node:path';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, test } from 'vitest';
import {
  type AnyMessageType,
  importGenerated,
  TEST_PROTOS,
} from '../cli/generate/modules.test-support.js';
import { HeapWriter } from './arena-writer.js';
import { DecodeError } from './errors.js';
import { type Field, fieldsOf, propertyOf, type Scalar } from './field.js';
import { fromBinary, toBinary } from './message.js';
import { Reader } from './reader.js';
import { isLong } from './value.js';

const rich = await importGenerated('millrace/test/v1/rich.ts');
const root = new protobuf.Root();
root.resolvePath = (_, target) =>
  target.startsWith('millrace/') ? join(TEST_PROTOS, target) : target;
root.loadSync('millrace/test/v1/rich.proto');

const NAMES = ['Scalars', 'Optionals', 'Repeated', 'Unpacked', 'Maps', 'Tree', 'WellKnown'];
const types = NAMES.map((name) => rich[name] as AnyMessageType);
/** The class of the `long` package, which the types of protobufjs name but do not describe. */
const Long = protobuf.util.Long as unknown as {
  fromString(text: string, unsigned: boolean): object;
};

const RUNS = { numRuns: 100 };

// ---- messages at random

const int32 = fc.oneof(
  fc.constantFrom(0, 1, -1, 127, 128, 16384, 2 ** 28, 2 ** 31 - 1, -(2 ** 31)),
  fc.integer(),
);
const uint32 = fc.oneof(
  fc.constantFrom(0, 1, 127, 128, 2 ** 28, 2 ** 31, 2 ** 32 - 1),
  fc.nat({ max: 2 ** 32 - 1 }),
);
const TWO_53 = 2n ** 53n;
const TWO_63 = 2n ** 63n;
const int64 = fc.oneof(
  fc.constantFrom(
    0n,
    1n,
    -1n,
    TWO_53 - 1n,
    TWO_53,
    TWO_53 + 1n,
    -TWO_53 - 1n,
    TWO_63 - 1n,
    -TWO_63,
  ),
  fc.bigInt({ min: -TWO_63, max: TWO_63 - 1n }),
);
const uint64 = fc.oneof(
  fc.constantFrom(
    0n,
    1n,
    TWO_53 - 1n,
    TWO_53 + 1n,
    TWO_63 - 1n,
    TWO_63,
    TWO_63 + 1n,
    2n ** 64n - 1n,
  ),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);
const text = fc.oneof(
  fc.string({ maxLength: 200 }),
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.constantFrom(
    '',
    'é'.repeat(63),
    'é'.repeat(64),
    'a'.repeat(127),
    'a'.repeat(128),
    '\ufffd',
    '𝄞',
  ),
);
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.constantFrom(0, 16, 17, 64, 65, 4096, 4097).map((length) => new Uint8Array(length).fill(7)),
);

function scalarValue(scalar: Scalar): fc.Arbitrary<unknown> {
  switch (scalar) {
    case 'double':
      return fc.double();
    case 'float':
      return fc.float();
    case 'int32':
    case 'sint32':
    case 'sfixed32':
      return int32;
    case 'uint32':
    case 'fixed32':
      return uint32;
    case 'int64':
    case 'sint64':
    case 'sfixed64':
      return int64;
    case 'uint64':
    case 'fixed64':
      return uint64;
    case 'bool':
      return fc.boolean();
    case 'string':
      return text;
    default:
      return bytes;
  }
}

function singleValue(field: Field, depth: number): fc.Arbitrary<unknown> {
  if (field.message) return messageValue(field.message, depth - 1);
  // A value of a later version of the enum is kept as its number.
  if (field.enum && Object.keys(field.enum).length === 1) return fc.constant(0);
  if (field.enum) return fc.oneof(fc.constantFrom(...Object.values(field.enum)), int32);
  return scalarValue(field.scalar as Scalar);
}

function fieldValue(field: Field, depth: number): fc.Arbitrary<unknown> {
  const single = singleValue(field, depth);
  if (field.map) {
    const entry = fc.tuple(scalarValue(field.map), single);
    return fc.array(entry, { maxLength: 4 }).map((entries) => new Map(entries));
  }
  if (field.repeated) return fc.array(single, { maxLength: 5 });
  return single;
}

function messageValue(type: AnyMessageType, depth = 3): fc.Arbitrary<unknown> {
  if (depth === 0) return fc.constant(type.create());
  const own: Record<string, fc.Arbitrary<unknown>> = {};
  const unions: Record<string, fc.Arbitrary<unknown>[]> = {};
  for (const field of fieldsOf(type) ?? []) {
    if (field.oneof === undefined) {
      own[propertyOf(field)] = fc.option(fieldValue(field, depth), { nil: undefined, freq: 2 });
      continue;
    }
    unions[field.oneof] ??= [];
    const union = fieldValue(field, depth).map((value) => ({ case: propertyOf(field), value }));
    unions[field.oneof]?.push(union);
  }
  for (const [oneof, members] of Object.entries(unions)) {
    own[oneof] = fc.option(fc.oneof(...members), { nil: undefined });
  }
  return fc.record(own).map((init) => type.create(init));
}

// ---- the oracle's form of a message

function toPlain(type: AnyMessageType, message: Record<string, unknown>): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const field of fieldsOf(type) ?? []) {
    const property = propertyOf(field);
    // protobufjs keeps the names of the well-known types as they are declared.
    const name = oracleOf(type).fieldsById[field.number]?.name ?? property;
    let value = message[field.oneof ?? property];
    if (field.oneof !== undefined) {
      const union = value as { case: string; value: unknown } | undefined;
      value = union?.case === property ? union.value : undefined;
    }
    if (value === undefined) continue;
    if (field.map) {
      plain[name] = Object.fromEntries(
        [...(value as Map<unknown, unknown>)].map(([k, v]) => [String(k), plainSingle(field, v)]),
      );
    } else if (field.repeated) {
      plain[name] = (value as unknown[]).map((item) => plainSingle(field, item));
    } else plain[name] = plainSingle(field, value);
  }
  return plain;
}

function plainSingle(field: Field, value: unknown): unknown {
  if (field.message) return toPlain(field.message, value as Record<string, unknown>);
  if (isLong(field.scalar)) return Long.fromString(String(value), isUnsigned(field));
  return value;
}

function isUnsigned(field: Field): boolean {
  return field.scalar === 'uint64' || field.scalar === 'fixed64';
}

function oracleOf(type: AnyMessageType): protobuf.Type {
  return root.lookupType(type.typeName);
}

function theirBytes(type: AnyMessageType, message: unknown): Uint8Array {
  const plain = toPlain(type, message as Record<string, unknown>);
  const oracle = oracleOf(type);
  return new Uint8Array(oracle.encode(oracle.fromObject(plain)).finish());
}

function theirView(type: AnyMessageType, encoded: Uint8Array): unknown {
  const oracle = oracleOf(type);
  return oracle.toObject(oracle.decode(encoded), { longs: String, bytes: String, defaults: true });
}

// ---- properties

describe.each(types.map((type) => ({ name: type.typeName, type })))('$name', ({ type }) => {
  test('what we encode, protobufjs decodes to the same', () => {
    fc.assert(
      fc.property(messageValue(type), (message) => {
        const ours = toBinary(type, message);
        expect(theirView(type, ours)).toEqual(theirView(type, theirBytes(type, message)));
      }),
      RUNS,
    );
  });

  test('what protobufjs encodes, we decode to the same', () => {
    fc.assert(
      fc.property(messageValue(type), (message) => {
        const decoded = fromBinary(type, theirBytes(type, message));
        expect(decoded).toEqual(message);
        expect(type.equals(decoded, message)).toBe(true);
      }),
      RUNS,
    );
  });

  test('what we encode, we decode to the same, wherever it lies', () => {
    const reader = new Reader();
    fc.assert(
      fc.property(messageValue(type), fc.nat({ max: 70 }), (message, offset) => {
        const ours = toBinary(type, message);
        const region = new Uint8Array(offset + ours.length + 9).fill(0xff);
        region.set(ours, offset);
        const decoded = type.decode(reader.set(region, offset, ours.length), ours.length);
        region.fill(0);
        expect(decoded).toEqual(message);
      }),
      RUNS,
    );
  });

  test('the length does not depend on the memory: a writer that moves writes the same', () => {
    fc.assert(
      fc.property(messageValue(type), (message) => {
        const writer = new HeapWriter(1);
        writer.begin();
        type.encode(message, writer);
        expect(writer.copy()).toEqual(toBinary(type, message));
      }),
      RUNS,
    );
  });

  test('a truncated message is an error or a shorter message, and reads nothing behind its end', () => {
    fc.assert(
      fc.property(messageValue(type), fc.nat(), (message, seed) => {
        const ours = toBinary(type, message);
        const length = ours.length === 0 ? 0 : seed % ours.length;
        // Were a byte behind the end read, these would be decoded as the rest of the message.
        const outcome = (bytes: Uint8Array): unknown => {
          try {
            return type.decode(new Reader().set(bytes, 0, length), length);
          } catch (error) {
            expect(error).toBeInstanceOf(DecodeError);
            return String(error);
          }
        };
        const zeroed = ours.slice();
        zeroed.fill(0, length);
        expect(outcome(ours)).toEqual(outcome(zeroed));
      }),
      RUNS,
    );
  });

  test('random bytes are a message or a DecodeError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (random) => {
        try {
          // What could be read can be written, and means the same.
          const message = fromBinary(type, random);
          expect(fromBinary(type, toBinary(type, message))).toEqual(message);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('a message with a flipped byte is a message or a DecodeError', () => {
    fc.assert(
      fc.property(messageValue(type), fc.nat(), fc.nat({ max: 255 }), (message, at, byte) => {
        const ours = toBinary(type, message);
        if (ours.length > 0) ours[at % ours.length] = byte;
        try {
          fromBinary(type, ours);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
      RUNS,
    );
  });

  test('JSON comes back the same', () => {
    fc.assert(
      fc.property(messageValue(type), (message) => {
        const json = jsonOf(type, message);
        if (json === undefined) return;
        expect(type.fromJson(json)).toEqual(message);
        // JSON.stringify takes it: there is no bigint in it.
        expect(JSON.parse(JSON.stringify(json))).toBeInstanceOf(Object);
      }),
      RUNS,
    );
  });

  test('unknown fields are skipped', () => {
    fc.assert(
      fc.property(messageValue(type), fc.uint8Array({ maxLength: 40 }), (message, payload) => {
        const writer = new HeapWriter();
        writer.begin();
        writer.bytesField((900 << 3) | 2, payload);
        writer.uint64(901 << 3, 2n ** 64n - 1n);
        writer.fixed32((902 << 3) | 5, 7);
        writer.fixed64((903 << 3) | 1, 7n);
        type.encode(message, writer);
        writer.uint32(904 << 3, 1);
        expect(fromBinary(type, writer.copy())).toEqual(message);
      }),
      RUNS,
    );
  });
});

/** Not every message of a well-known type has a JSON form: a random Timestamp may be out of range. */
function jsonOf(
  type: AnyMessageType,
  message: unknown,
): ReturnType<AnyMessageType['toJson']> | undefined {
  try {
    return type.toJson(message);
  } catch {
    expect(['millrace.test.v1.WellKnown', 'millrace.test.v1.Tree']).toContain(type.typeName);
    return undefined;
  }
}
