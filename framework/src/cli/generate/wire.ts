import type { Scalar } from '../../codec/field.js';
import type { Field, FieldType } from './model.js';

const FIXED32 = new Set<Scalar>(['fixed32', 'sfixed32', 'float']);
const FIXED64 = new Set<Scalar>(['fixed64', 'sfixed64', 'double']);

/** How a value is laid out: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes. */
export function wireType(type: FieldType): number {
  if (type.kind === 'message') return 2;
  if (type.kind === 'enum') return 0;
  if (type.scalar === 'string' || type.scalar === 'bytes') return 2;
  return FIXED32.has(type.scalar) ? 5 : FIXED64.has(type.scalar) ? 1 : 0;
}

/** The field's number × 8 + wire type, as an unsigned 32-bit number. */
export function tagOf(number: number, wire: number): number {
  return number * 8 + wire;
}

/** The method of Reader and Writer for values of the type, which is no message. */
export function methodOf(type: FieldType): string {
  if (type.kind !== 'scalar') return 'int32';
  return type.scalar === 'bytes' ? 'bytesField' : type.scalar;
}

/** The type of the key of a map, as that of a field. */
export function keyTypeOf({ key }: Field): FieldType {
  return { kind: 'scalar', scalar: key ?? 'string' };
}

/** The literal of the default of a scalar or enum. */
export function defaultLiteral(type: FieldType, emptyBytes: string): string {
  if (type.kind !== 'scalar') return '0';
  switch (type.scalar) {
    case 'string':
      return "''";
    case 'bytes':
      return emptyBytes;
    case 'bool':
      return 'false';
    default:
      return type.scalar.endsWith('64') ? '0n' : '0';
  }
}
