import { HeapWriter } from './arena-writer.js';
import { JsonError } from './errors.js';
import type { Scalar } from './field.js';
import { show } from './invalid.js';
import { scalarFromJson, scalarToJson } from './json.js';
import type { JsonForm } from './message.js';
import type { JsonObject, MessageType } from './message-type.js';
import { Reader } from './reader.js';
import { findType } from './registry.js';
import type * as types from './well-known.gen.js';

/**
 * The JSON forms that the proto3 JSON mapping gives to the well-known types in place of an object of
 * their fields: https://protobuf.dev/programming-guides/json/
 */

/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, in seconds since 1970. */
const FIRST_SECOND = -62135596800n;
const LAST_SECOND = 253402300799n;
/** About 10,000 years, in seconds. */
const LONGEST_DURATION = 315576000000n;
const NANOS = 1_000_000_000;

const RFC3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))$/;
const DURATION = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/;

/** `2026-01-02T03:04:05.006Z`, with 0, 3, 6 or 9 digits of a second. */
export const timestamp: JsonForm<types.Timestamp> = {
  toJson({ seconds, nanos }) {
    if (seconds < FIRST_SECOND || seconds > LAST_SECOND || nanos < 0 || nanos >= NANOS) {
      throw new JsonError('a timestamp outside of the years 1 to 9999', 'Timestamp', '');
    }
    const date = new Date(Number(seconds) * 1000).toISOString();
    return `${date.slice(0, 19)}${fraction(nanos)}Z`;
  },
  fromJson(json) {
    const match = typeof json === 'string' ? RFC3339.exec(json) : null;
    const ms = match ? Date.parse(`${match[1]}Z`) : Number.NaN;
    const offset = match?.[3] ? Number(`${match[3]}1`) * minutes(match[4], match[5]) : 0;
    const seconds = Number.isNaN(ms) ? undefined : BigInt(ms / 1000 - offset * 60);
    if (seconds === undefined || seconds < FIRST_SECOND || seconds > LAST_SECOND) {
      throw new JsonError(`expected an RFC 3339 time, got ${show(json)}`, 'Timestamp', '');
    }
    return { seconds, nanos: Number((match?.[2] ?? '').padEnd(9, '0')) };
  },
};

/** `1.500s` */
export const duration: JsonForm<types.Duration> = {
  toJson({ seconds, nanos }) {
    const length = seconds < 0n ? -seconds : seconds;
    const mixed = (seconds > 0n && nanos < 0) || (seconds < 0n && nanos > 0);
    if (length > LONGEST_DURATION || Math.abs(nanos) >= NANOS || mixed) {
      throw new JsonError('a duration out of range, or of two signs', 'Duration', '');
    }
    const sign = seconds < 0n || nanos < 0 ? '-' : '';
    return `${sign}${length}${fraction(Math.abs(nanos))}s`;
  },
  fromJson(json) {
    const match = typeof json === 'string' ? DURATION.exec(json) : null;
    const length = match ? BigInt(match[2] as string) : undefined;
    if (length === undefined || length > LONGEST_DURATION) {
      throw new JsonError(`expected a duration like "1.5s", got ${show(json)}`, 'Duration', '');
    }
    const nanos = Number((match?.[3] ?? '').padEnd(9, '0'));
    const negative = match?.[1] === '-';
    return { seconds: negative ? -length : length, nanos: negative && nanos > 0 ? -nanos : nanos };
  },
};

/** `fooBar,baz.qux`: the paths in lowerCamel, joined by commas. */
export const fieldMask: JsonForm<types.FieldMask> = {
  toJson({ paths }) {
    return paths.map(pathToJson).join(',');
  },
  fromJson(json) {
    if (typeof json !== 'string') {
      throw new JsonError(`expected paths joined by commas, got ${show(json)}`, 'FieldMask', '');
    }
    return { paths: json === '' ? [] : json.split(',').map(pathFromJson) };
  },
};

/** The JSON object itself. */
export const struct: JsonForm<types.Struct> = {
  toJson({ fields }) {
    const json: JsonObject = {};
    for (const [name, item] of fields) {
      const property = { value: value.toJson(item), enumerable: true, configurable: true };
      Object.defineProperty(json, name, { ...property, writable: true });
    }
    return json;
  },
  fromJson(json) {
    if (typeof json !== 'object' || json === null || Array.isArray(json)) {
      throw new JsonError(`expected an object, got ${show(json)}`, 'Struct', '');
    }
    return { fields: new Map(Object.keys(json).map((k) => [k, value.fromJson(json[k] ?? null)])) };
  },
};

/** The JSON array itself. */
export const listValue: JsonForm<types.ListValue> = {
  toJson({ values }) {
    return values.map((item) => value.toJson(item));
  },
  fromJson(json) {
    if (!Array.isArray(json)) {
      throw new JsonError(`expected an array, got ${show(json)}`, 'ListValue', '');
    }
    return { values: json.map((item) => value.fromJson(item)) };
  },
};

/** The JSON value itself. */
export const value: JsonForm<types.Value> = {
  toJson({ kind }) {
    if (!kind) throw new JsonError('a Value without a kind is no JSON value', 'Value', '');
    switch (kind.case) {
      case 'nullValue':
        return null;
      case 'numberValue':
        if (Number.isFinite(kind.value)) return kind.value;
        throw new JsonError(`${kind.value} is no JSON value`, 'Value', '');
      case 'structValue':
        return struct.toJson(kind.value);
      case 'listValue':
        return listValue.toJson(kind.value);
      default:
        return kind.value;
    }
  },
  fromJson(json) {
    switch (typeof json) {
      case 'number':
        return { kind: { case: 'numberValue', value: json } };
      case 'string':
        return { kind: { case: 'stringValue', value: json } };
      case 'boolean':
        return { kind: { case: 'boolValue', value: json } };
      default:
        if (json === null) return { kind: { case: 'nullValue', value: 0 } };
        if (Array.isArray(json)) {
          return { kind: { case: 'listValue', value: listValue.fromJson(json) } };
        }
        return { kind: { case: 'structValue', value: struct.fromJson(json) } };
    }
  },
};

/**
 * The message's own JSON with its type as `@type`; where that is no object of its fields, it is under
 * `value`. The type must be known: its module must have been loaded.
 */
export const any: JsonForm<types.Any> = {
  toJson({ typeUrl, value: bytes }) {
    if (typeUrl === '' && bytes.length === 0) return {};
    const type = typeOf(typeUrl);
    const json = type.toJson(type.decode(new Reader(bytes), bytes.length));
    const own = hasOwnForm(type) || typeof json !== 'object' || json === null;
    return own || Array.isArray(json)
      ? { '@type': typeUrl, value: json }
      : { '@type': typeUrl, ...json };
  },
  fromJson(json) {
    if (typeof json !== 'object' || json === null || Array.isArray(json)) {
      throw new JsonError(`expected an object, got ${show(json)}`, 'Any', '');
    }
    const { '@type': typeUrl, ...rest } = json;
    if (typeUrl === undefined && Object.keys(rest).length === 0) {
      return { typeUrl: '', value: new Uint8Array(0) };
    }
    if (typeof typeUrl !== 'string') {
      throw new JsonError(`expected a type's name, got ${show(typeUrl)}`, 'Any', '@type');
    }
    const type = typeOf(typeUrl);
    const writer = new HeapWriter();
    writer.begin();
    type.encode(type.fromJson(hasOwnForm(type) ? (rest['value'] ?? null) : rest), writer);
    return { typeUrl, value: writer.copy() };
  },
};

export const doubleValue = wrapper<number>('double');
export const floatValue = wrapper<number>('float');
export const int64Value = wrapper<bigint>('int64');
export const uint64Value = wrapper<bigint>('uint64');
export const int32Value = wrapper<number>('int32');
export const uint32Value = wrapper<number>('uint32');
export const boolValue = wrapper<boolean>('bool');
export const stringValue = wrapper<string>('string');
export const bytesValue = wrapper<Uint8Array>('bytes');

/** A wrapper's JSON is its value's. */
function wrapper<T>(scalar: Scalar): JsonForm<{ value: T }> {
  return {
    toJson: (message) => scalarToJson(scalar, message.value),
    fromJson: (json) => ({ value: scalarFromJson(scalar, json) as T }),
  };
}

/** Nothing, or 3, 6 or 9 digits behind a point. */
function fraction(nanos: number): string {
  if (nanos === 0) return '';
  const digits = String(nanos).padStart(9, '0');
  return `.${digits.replace(/^(\d{3}|\d{6})0+$/, '$1')}`;
}

function minutes(hours = '0', rest = '0'): number {
  return Number(hours) * 60 + Number(rest);
}

function pathToJson(path: string): string {
  const camel = path.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  if (path !== '' && !path.includes(',') && pathFromJson(camel) === path) return camel;
  throw new JsonError(`the path ${show(path)} has no lowerCamel form`, 'FieldMask', 'paths');
}

function pathFromJson(path: string): string {
  if (path === '' || path.includes('_')) {
    throw new JsonError(`expected a path in lowerCamel, got ${show(path)}`, 'FieldMask', '');
  }
  return path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The type at the end of a URL: `type.googleapis.com/pkg.Message`. */
function typeOf(typeUrl: string): MessageType<unknown> {
  const type = findType(typeUrl.slice(typeUrl.lastIndexOf('/') + 1));
  if (type) return type;
  const reason = `the type ${show(typeUrl)} is not known; import its generated module`;
  throw new JsonError(reason, 'Any', '@type');
}

/** Whether the type's JSON is something other than an object of its fields. */
function hasOwnForm(type: MessageType<unknown>): boolean {
  return (type as { readonly hasJsonForm?: boolean }).hasJsonForm === true;
}
