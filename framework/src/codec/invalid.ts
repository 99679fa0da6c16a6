import { joinPath } from './errors.js';
import { type Field, fieldsOf, isDefault, propertyOf, type Scalar, shortName } from './field.js';
import { RECURSION_LIMIT } from './reader.js';
import type { AnyMessage } from './value.js';

/** Where a message cannot be encoded, and why. */
export interface Invalid {
  readonly path: string;
  readonly reason: string;
}

type Find = Invalid | undefined;

/**
 * Looks for the first value that `encode` refuses. Encoding checks as it goes and knows no path; only
 * when it has failed is the message looked through again, here.
 */
export function findInvalid(type: object, typeName: string, message: unknown, depth = 1): Find {
  if (depth > RECURSION_LIMIT) {
    return {
      path: '',
      reason: `messages nested deeper than ${RECURSION_LIMIT}; is there a cycle?`,
    };
  }
  if (typeof message !== 'object' || message === null) {
    return wrong(`an object (${shortName(typeName)})`, message);
  }
  const seen = new Set<string>();
  for (const field of fieldsOf(type) ?? []) {
    const found =
      field.oneof === undefined
        ? findInField(field, (message as AnyMessage)[propertyOf(field)], depth)
        : findInOneof(type, field.oneof, message as AnyMessage, seen, depth);
    if (found) return at(field.oneof ?? propertyOf(field), found);
  }
  return undefined;
}

function findInOneof(
  type: object,
  oneof: string,
  message: AnyMessage,
  seen: Set<string>,
  depth: number,
): Find {
  const union = message[oneof];
  if (seen.has(oneof) || union === undefined) return undefined;
  seen.add(oneof);
  if (typeof union !== 'object' || union === null) return wrong('{ case, value }', union);
  const chosen = (union as AnyMessage)['case'];
  const members = (fieldsOf(type) ?? []).filter((field) => field.oneof === oneof);
  const member = members.find((field) => propertyOf(field) === chosen);
  if (!member) {
    const names = members.map((field) => `'${propertyOf(field)}'`).join(', ');
    return at('case', wrong(members.length > 1 ? `one of ${names}` : names, chosen));
  }
  return at('value', findInSingle(member, (union as AnyMessage)['value'], depth));
}

function findInField(field: Field, value: unknown, depth: number): Find {
  if (value === undefined || isDefault(field, value)) return undefined;
  if (field.map) return findInMap(field, value, depth);
  if (!field.repeated) return findInSingle(field, value, depth);
  if (!Array.isArray(value)) return wrong('an array', value);
  for (let index = 0; index < value.length; index++) {
    const found = findInSingle(field, value[index], depth);
    if (found) return at(`[${index}]`, found);
  }
  return undefined;
}

function findInMap(field: Field, value: unknown, depth: number): Find {
  const textual = field.map === 'string';
  const plain = textual && typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!(value instanceof Map) && !plain) {
    return wrong(textual ? 'a Map or an object' : 'a Map', value);
  }
  for (const [key, item] of value instanceof Map ? value : Object.entries(value as AnyMessage)) {
    if (!fits(field.map as Scalar, key)) {
      return { path: '', reason: `expected keys of type ${field.map}, got ${show(key)}` };
    }
    const found = findInSingle(field, item, depth + 1);
    if (found) return at(`[${show(key)}]`, found);
  }
  return undefined;
}

function findInSingle(field: Field, value: unknown, depth: number): Find {
  if (field.message) return findInvalid(field.message, field.message.typeName, value, depth + 1);
  if (field.enum) return fits('int32', value) ? undefined : wrong('enum (int32)', value);
  const scalar = field.scalar as Scalar;
  return fits(scalar, value) ? undefined : wrong(expectation(scalar), value);
}

function expectation(scalar: Scalar): string {
  switch (scalar) {
    case 'bytes':
      return 'bytes (Uint8Array)';
    case 'int64':
    case 'uint64':
    case 'sint64':
    case 'fixed64':
    case 'sfixed64':
      return `${scalar} (bigint or safe integer)`;
    default:
      return scalar;
  }
}

/** Whether the value is of the type and in its range. */
export function fits(scalar: Scalar, value: unknown): boolean {
  switch (scalar) {
    case 'string':
      return typeof value === 'string';
    case 'bytes':
      return value instanceof Uint8Array;
    case 'bool':
      return typeof value === 'boolean';
    case 'double':
      return typeof value === 'number';
    case 'float':
      return (
        typeof value === 'number' &&
        (!Number.isFinite(value) || Number.isFinite(Math.fround(value)))
      );
    case 'uint32':
    case 'fixed32':
      return typeof value === 'number' && value >>> 0 === value;
    case 'int32':
    case 'sint32':
    case 'sfixed32':
      return typeof value === 'number' && (value | 0) === value;
    case 'uint64':
    case 'fixed64':
      if (typeof value === 'bigint') return BigInt.asUintN(64, value) === value;
      return Number.isSafeInteger(value) && (value as number) >= 0;
    default:
      if (typeof value === 'bigint') return BigInt.asIntN(64, value) === value;
      return Number.isSafeInteger(value);
  }
}

function at(step: string, found: Find): Find {
  return found && { path: joinPath(step, found.path), reason: found.reason };
}

function wrong(expected: string, value: unknown): Invalid {
  return { path: '', reason: `expected ${expected}, got ${show(value)}` };
}

/** The value as an error message may show it: short, on one line. */
export function show(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
    case 'bigint':
      return `${value}n`;
    case 'function':
      return 'a function';
    case 'symbol':
      return 'a symbol';
    case 'object':
      if (value === null) return 'null';
      if (Array.isArray(value)) return 'an array';
      return `an object (${value.constructor?.name ?? 'Object'})`;
    default:
      return Object.is(value, -0) ? '-0' : String(value);
  }
}
