import { entries } from './arena-writer.js';
import { type Field, fieldsOf, fieldValue, isDefault, propertyOf, type Scalar } from './field.js';
import { EMPTY_BYTES } from './reader.js';

/** A message whose type is known by its fields only. */
export type AnyMessage = Record<string, unknown>;

/** Whether the scalar is a bigint when received. */
export function isLong(scalar: Scalar | undefined): boolean {
  switch (scalar) {
    case 'int64':
    case 'uint64':
    case 'sint64':
    case 'fixed64':
    case 'sfixed64':
      return true;
    default:
      return false;
  }
}

/** A full message from one given in part. */
export function createMessage(fields: readonly Field[], init: AnyMessage): AnyMessage {
  const message: AnyMessage = {};
  for (const field of fields) {
    if (field.oneof !== undefined) {
      if (!Object.hasOwn(message, field.oneof)) message[field.oneof] = undefined;
      const value = fieldValue(field, init);
      if (value !== undefined) {
        message[field.oneof] = { case: propertyOf(field), value: createSingle(field, value) };
      }
      continue;
    }
    const property = propertyOf(field);
    message[property] = createField(field, init[property]);
  }
  return message;
}

function createField(field: Field, value: unknown): unknown {
  if (field.map) {
    const map = new Map<unknown, unknown>();
    if (value !== undefined) {
      for (const [key, item] of entries(value as ReadonlyMap<unknown, unknown>)) {
        map.set(
          isLong(field.map) ? BigInt(key as bigint | number) : key,
          createSingle(field, item),
        );
      }
    }
    return map;
  }
  if (field.repeated) {
    return value === undefined ? [] : Array.from(value as unknown[], (v) => createSingle(field, v));
  }
  if (value !== undefined) return createSingle(field, value);
  return field.optional || field.message ? undefined : defaultOf(field);
}

function createSingle(field: Field, value: unknown): unknown {
  if (field.message) return field.message.create(value);
  return isLong(field.scalar) && typeof value === 'number' ? BigInt(value) : value;
}

/** The default of a singular scalar or enum. */
export function defaultOf(field: Field): unknown {
  switch (field.scalar) {
    case 'string':
      return '';
    case 'bytes':
      return EMPTY_BYTES;
    case 'bool':
      return false;
    default:
      return isLong(field.scalar) ? 0n : 0;
  }
}

/**
 * `from` merged into `into`: fields that are set replace, lists are appended to, messages merged.
 * Bytes may hold a field of message type in several parts, which protobuf merges.
 */
export function mergeMessages(
  fields: readonly Field[],
  into: AnyMessage,
  from: AnyMessage,
): AnyMessage {
  for (const field of fields) {
    const value = fieldValue(field, from);
    if (value === undefined || isDefault(field, value)) continue;
    const property = propertyOf(field);
    const previous = fieldValue(field, into);
    const merged = previous === undefined ? value : mergeValues(field, previous, value);
    if (field.oneof === undefined) into[property] = merged;
    else into[field.oneof] = { case: property, value: merged };
  }
  return into;
}

function mergeValues(field: Field, into: unknown, from: unknown): unknown {
  if (field.map)
    return new Map([...(into as Map<unknown, unknown>), ...(from as Map<unknown, unknown>)]);
  if (field.repeated) return [...(into as unknown[]), ...(from as unknown[])];
  const fields = field.message && fieldsOf(field.message);
  return fields ? mergeMessages(fields, into as AnyMessage, from as AnyMessage) : from;
}

/** Whether both messages hold the same. */
export function equalMessages(fields: readonly Field[], a: AnyMessage, b: AnyMessage): boolean {
  return (
    a === b ||
    fields.every((field) => equalFields(field, fieldValue(field, a), fieldValue(field, b)))
  );
}

function equalFields(field: Field, a: unknown, b: unknown): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (field.map) {
    const left = a as ReadonlyMap<unknown, unknown>;
    const right = b as ReadonlyMap<unknown, unknown>;
    if (left.size !== right.size) return false;
    for (const [key, value] of left) {
      if (!right.has(key) || !equalSingles(field, value, right.get(key))) return false;
    }
    return true;
  }
  if (field.repeated) {
    const left = a as readonly unknown[];
    const right = b as readonly unknown[];
    return left.length === right.length && left.every((v, i) => equalSingles(field, v, right[i]));
  }
  return equalSingles(field, a, b);
}

function equalSingles(field: Field, a: unknown, b: unknown): boolean {
  if (field.message) return field.message.equals(a, b);
  if (field.scalar === 'bytes') return Buffer.compare(a as Uint8Array, b as Uint8Array) === 0;
  return Object.is(a, b);
}
