import { entries } from './arena-writer.js';
import { CodecError, JsonError } from './errors.js';
import {
  type EnumValues,
  type Field,
  fieldsOf,
  fieldValue,
  isDefault,
  jsonNameOf,
  type MapKey,
  propertyOf,
  type Scalar,
  shortName,
} from './field.js';
import { fits, show } from './invalid.js';
import type { JsonObject, JsonValue } from './message-type.js';
import { type AnyMessage, createMessage, isLong } from './value.js';

/** A generated type, as far as the JSON mapping needs it. */
interface Type {
  readonly typeName: string;
}

// ---- message to JSON

/** The JSON form of a message. Fields without a presence of their own are left out at their default. */
export function toJson(type: Type, message: AnyMessage): JsonObject {
  const json: JsonObject = {};
  for (const field of fieldsOf(type) ?? []) {
    const value = fieldValue(field, message);
    if (value === undefined || isDefault(field, value) || isEmpty(field, value)) continue;
    try {
      setProperty(json, jsonNameOf(field), fieldToJson(field, value));
    } catch (error) {
      throw located(error, type, propertyOf(field));
    }
  }
  return json;
}

function isEmpty(field: Field, value: unknown): boolean {
  if (field.map) return value instanceof Map ? value.size === 0 : false;
  return field.repeated === true && (value as readonly unknown[]).length === 0;
}

function fieldToJson(field: Field, value: unknown): JsonValue {
  if (field.map) {
    const json: JsonObject = {};
    for (const [key, item] of entries(value as ReadonlyMap<unknown, unknown>)) {
      setProperty(json, String(key), singleToJson(field, item));
    }
    return json;
  }
  if (field.repeated) return (value as readonly unknown[]).map((item) => singleToJson(field, item));
  return singleToJson(field, value);
}

function singleToJson(field: Field, value: unknown): JsonValue {
  if (field.message) return field.message.toJson(value);
  if (field.enum) return enumToJson(field.enum, value as number);
  const scalar = field.scalar as Scalar;
  if (!fits(scalar, value)) throw new JsonError(`expected ${scalar}, got ${show(value)}`, '', '');
  return scalarToJson(scalar, value);
}

/** The JSON form of a scalar. */
export function scalarToJson(scalar: Scalar, value: unknown): JsonValue {
  switch (scalar) {
    case 'float':
      return Number.isFinite(value) ? shortestFloat(value as number) : String(value);
    case 'double':
      return Number.isFinite(value) ? (value as number) : String(value);
    case 'bytes': {
      const bytes = value as Uint8Array;
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
    }
    default:
      return isLong(scalar) ? String(value) : (value as JsonValue);
  }
}

/** The decimal with the fewest digits that is the same float: 0.1, not 0.10000000149011612. */
function shortestFloat(value: number): number {
  // The digits of -0 have no sign.
  if (value === 0) return value;
  for (let digits = 6; digits < 9; digits++) {
    const rounded = Number(value.toPrecision(digits));
    if (Math.fround(rounded) === Math.fround(value)) return rounded;
  }
  return value;
}

function enumToJson(values: EnumValues, value: number): JsonValue {
  if (isNullValue(values)) return null;
  for (const name in values) if (values[name] === value) return name;
  return value;
}

// ---- JSON to message

/** The message of a JSON value. Fields are known by their JSON name and by that in the .proto file. */
export function fromJson(type: Type, json: JsonValue): AnyMessage {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new JsonError(`expected an object, got ${show(json)}`, shortName(type.typeName), '');
  }
  const fields = fieldsOf(type) ?? [];
  const message = createMessage(fields, {});
  const seen = new Set<string>();
  for (const name of Object.keys(json)) {
    const field = fields.find((f) => jsonNameOf(f) === name) ?? fields.find((f) => f.name === name);
    const root = shortName(type.typeName);
    if (!field) throw new JsonError(`no such field in ${type.typeName}`, root, name);
    if (seen.has(field.name)) throw new JsonError('the field is given twice', root, name);
    seen.add(field.name);
    try {
      setFromJson(message, field, json[name] as JsonValue);
    } catch (error) {
      throw located(error, type, name);
    }
  }
  return message;
}

function setFromJson(message: AnyMessage, field: Field, json: JsonValue): void {
  if (json === null && !takesNull(field)) return;
  if (field.oneof === undefined) {
    message[propertyOf(field)] = fieldFromJson(field, json);
    return;
  }
  const other = message[field.oneof] as { case: string } | undefined;
  if (other) throw new JsonError(`'${other.case}' of the same oneof is given too`, '', '');
  message[field.oneof] = { case: propertyOf(field), value: singleFromJson(field, json) };
}

function fieldFromJson(field: Field, json: JsonValue): unknown {
  if (field.map) return mapFromJson(field, field.map, json);
  if (!field.repeated) return singleFromJson(field, json);
  if (!Array.isArray(json)) throw new JsonError(`expected an array, got ${show(json)}`, '', '');
  return json.map((item, index) => itemFromJson(field, item, `[${index}]`));
}

function mapFromJson(field: Field, key: MapKey, json: JsonValue): Map<unknown, unknown> {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new JsonError(`expected an object, got ${show(json)}`, '', '');
  }
  const map = new Map<unknown, unknown>();
  for (const name of Object.keys(json)) {
    const value = itemFromJson(field, json[name] as JsonValue, `[${show(name)}]`);
    map.set(keyFromJson(key, name), value);
  }
  return map;
}

function itemFromJson(field: Field, json: JsonValue, step: string): unknown {
  try {
    if (json === null && !takesNull({ ...field, repeated: false })) {
      throw new JsonError('null is no value of a list or map', '', '');
    }
    return singleFromJson(field, json);
  } catch (error) {
    throw error instanceof CodecError ? error.within('', step) : error;
  }
}

function keyFromJson(key: MapKey, name: string): unknown {
  if (key === 'string') return name;
  if (key !== 'bool') return scalarFromJson(key, name);
  if (name === 'true') return true;
  if (name === 'false') return false;
  throw new JsonError(`expected keys "true" and "false", got ${show(name)}`, '', '');
}

function singleFromJson(field: Field, json: JsonValue): unknown {
  if (field.message) return field.message.fromJson(json);
  if (field.enum) return enumFromJson(field.enum, json);
  return scalarFromJson(field.scalar as Scalar, json);
}

function enumFromJson(values: EnumValues, json: JsonValue): number {
  if (json === null && isNullValue(values)) return 0;
  if (typeof json === 'string' && Object.hasOwn(values, json)) return values[json] as number;
  if (fits('int32', json)) return json as number;
  throw new JsonError(`expected the name or number of an enum value, got ${show(json)}`, '', '');
}

const DECIMAL = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/;

/** The scalar of a JSON value. Numbers may be strings; 64-bit ones should be. */
export function scalarFromJson(scalar: Scalar, json: JsonValue): unknown {
  const value = parseScalar(scalar, json);
  if (value === undefined || !fits(scalar, value)) {
    throw new JsonError(`expected ${scalar}, got ${show(json)}`, '', '');
  }
  return scalar === 'float' ? Math.fround(value as number) : value;
}

function parseScalar(scalar: Scalar, json: JsonValue): unknown {
  switch (scalar) {
    case 'string':
    case 'bool':
      return json;
    case 'bytes':
      return typeof json === 'string' ? parseBase64(json) : undefined;
    case 'double':
    case 'float':
      if (json === 'NaN') return Number.NaN;
      if (json === 'Infinity') return Number.POSITIVE_INFINITY;
      if (json === '-Infinity') return Number.NEGATIVE_INFINITY;
      return finite(json);
    default:
      return isLong(scalar) ? parseLong(json) : finite(json);
  }
}

function finite(json: JsonValue): number | undefined {
  const value = typeof json === 'string' && DECIMAL.test(json) ? Number(json) : json;
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

function parseLong(json: JsonValue): bigint | undefined {
  if (typeof json === 'string' && /^-?(?:0|[1-9]\d*)$/.test(json)) return BigInt(json);
  const value = finite(json);
  return Number.isInteger(value) ? BigInt(value as number) : undefined;
}

/** Both alphabets are accepted, with and without padding. */
function parseBase64(text: string): Uint8Array | undefined {
  if (!BASE64.test(text) || text.replace(/=+$/, '').length % 4 === 1) return undefined;
  return new Uint8Array(Buffer.from(text, 'base64'));
}

/** Whether JSON's null is a value of the field, not the field's absence. */
function takesNull(field: Field): boolean {
  if (field.repeated || field.map) return false;
  if (field.enum) return isNullValue(field.enum);
  return field.message?.typeName === 'google.protobuf.Value';
}

/** google.protobuf.NullValue, whose one value is null in JSON. */
function isNullValue(values: EnumValues): boolean {
  return values['NULL_VALUE'] === 0 && Object.keys(values).length === 1;
}

/** An assignment that a property named `__proto__` cannot lead astray. */
function setProperty(json: JsonObject, name: string, value: JsonValue): void {
  Object.defineProperty(json, name, {
    value,
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

function located(error: unknown, type: Type, step: string): unknown {
  return error instanceof CodecError ? error.within(shortName(type.typeName), step) : error;
}
