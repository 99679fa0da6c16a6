import type { MessageType } from './message-type.js';

/** The scalar types of protobuf by their names there. @internal */
export type Scalar =
  | 'double'
  | 'float'
  | 'int32'
  | 'int64'
  | 'uint32'
  | 'uint64'
  | 'sint32'
  | 'sint64'
  | 'fixed32'
  | 'fixed64'
  | 'sfixed32'
  | 'sfixed64'
  | 'bool'
  | 'string'
  | 'bytes';

/** The scalar types that a map's key may have. @internal */
export type MapKey = Exclude<Scalar, 'double' | 'float' | 'bytes'>;

/** The values of an enum by name, as generated: `{ UNSPECIFIED: 0, RED: 1 }`. @internal */
export type EnumValues = Readonly<Record<string, number>>;

/**
 * A field as the cold paths see it: defaults, comparison, JSON, and the search for the field that an
 * error is about. The hot paths, `encode` and `decode`, are generated in full and never look here.
 *
 * Exactly one of `scalar`, `enum` and `message` is set; for a map it is the type of the values.
 *
 * @internal
 */
export interface Field {
  readonly number: number;
  /** The name in the .proto file. */
  readonly name: string;
  /** The property of the message, if it is not the lowerCamel form of `name`. */
  readonly property?: string;
  /** The name in JSON, if it is not the lowerCamel form of `name`. */
  readonly json?: string;
  readonly scalar?: Scalar;
  readonly enum?: EnumValues;
  // biome-ignore lint/suspicious/noExplicitAny: a table holds fields of every message type, and a MessageType is contravariant in its Init
  readonly message?: MessageType<any, any>;
  readonly repeated?: boolean;
  /** The type of a map's keys. */
  readonly map?: MapKey;
  /** The field tells absent from default. Messages and members of a oneof do so without this. */
  readonly optional?: boolean;
  /** The property of the oneof of which the field is a member. */
  readonly oneof?: string;
}

/** `foo_bar` becomes `fooBar`, as protoc does for JSON names. */
export function lowerCamel(name: string): string {
  return name.replace(/_+(.?)/g, (_, next: string) => next.toUpperCase());
}

/** The property that holds the field; for a member of a oneof the `case` that names it. */
export function propertyOf(field: Field): string {
  return field.property ?? lowerCamel(field.name);
}

/** The field's name in JSON. */
export function jsonNameOf(field: Field): string {
  return field.json ?? lowerCamel(field.name);
}

/** The fields of a generated type; undefined for one written by hand. */
export function fieldsOf(type: object): readonly Field[] | undefined {
  return (type as { readonly fields?: readonly Field[] }).fields;
}

/** `FooBar` of `pkg.Outer.FooBar`. */
export function shortName(typeName: string): string {
  return typeName.slice(typeName.lastIndexOf('.') + 1);
}

/** The value of the field if it is set, for a member of a oneof: if it is the one that is set. */
export function fieldValue(field: Field, message: object): unknown {
  const record = message as Record<string, unknown>;
  if (field.oneof === undefined) return record[propertyOf(field)];
  const union = record[field.oneof] as { case: string; value: unknown } | null | undefined;
  return union?.case === propertyOf(field) ? union.value : undefined;
}

/** Whether a field without a presence of its own holds its default, and so is not written. */
export function isDefault(field: Field, value: unknown): boolean {
  if (field.repeated || field.map) return false;
  if (field.optional || field.oneof !== undefined || field.message) return false;
  switch (field.scalar) {
    case 'string':
      return value === '';
    case 'bytes':
      return value instanceof Uint8Array && value.length === 0;
    case 'bool':
      return value === false;
    default:
      return Object.is(value, 0) || value === 0n;
  }
}
