import { type Field, fieldsOf, fieldValue } from '../../codec/field.js';
import { type Any, findType, fromBinary, type MessageType } from '../../codec/index.js';
import type { JsonNode } from './json-text.js';

const ANY = 'google.protobuf.Any';

/** The full name in `type.googleapis.com/pkg.Message`. */
export function typeNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
}

/** The types named by `@type` anywhere in a JSON value. */
export function* typesNamedIn(node: JsonNode): Generator<string> {
  if (node.kind === 'array') for (const item of node.items) yield* typesNamedIn(item);
  if (node.kind !== 'object') return;
  for (const [name, member] of node.members) {
    if (name === '@type' && member.kind === 'plain' && typeof member.value === 'string') {
      yield typeNameOf(member.value);
    }
    yield* typesNamedIn(member);
  }
}

/** The types of the google.protobuf.Any messages in a message that nobody knows yet. */
export function* unknownTypesIn(type: object, message: unknown): Generator<string> {
  if (!mayHoldAny(type)) return;
  if ((type as MessageType<unknown>).typeName === ANY) {
    const { typeUrl, value } = message as Any;
    const name = typeNameOf(typeUrl);
    const inner = findType(name);
    if (inner !== undefined) {
      if (mayHoldAny(inner)) yield* unknownTypesIn(inner, fromBinary(inner, value));
    } else if (name !== '') yield name;
    return;
  }
  for (const field of fieldsOf(type) ?? []) {
    if (field.message === undefined) continue;
    const value = fieldValue(field, message as object);
    if (value === undefined) continue;
    for (const one of valuesOf(field, value)) yield* unknownTypesIn(field.message, one);
  }
}

function valuesOf(field: Field, value: unknown): Iterable<unknown> {
  if (field.map !== undefined) return (value as ReadonlyMap<unknown, unknown>).values();
  return field.repeated ? (value as readonly unknown[]) : [value];
}

const known = new WeakMap<object, boolean>();

/** Whether a google.protobuf.Any can occur in messages of the type: most streams need no search. */
function mayHoldAny(type: object): boolean {
  let holds = known.get(type);
  if (holds === undefined) {
    const reached = new Set<object>([type]);
    // A Set iterates over what is added meanwhile.
    for (const one of reached) {
      for (const { message } of fieldsOf(one) ?? [])
        if (message !== undefined) reached.add(message);
    }
    holds = [...reached].some((one) => (one as MessageType<unknown>).typeName === ANY);
    known.set(type, holds);
  }
  return holds;
}
