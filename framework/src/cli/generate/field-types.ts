import type { Imports } from './imports.js';
import type { Field } from './model.js';
import { type Doc, typeArguments } from './printer.js';

/** The type of the field in a message that was received, without `undefined`. */
export function receivedType(field: Field, imports: Imports): Doc {
  const single = receivedSingle(field, imports);
  if (field.label === 'map') return typeArguments('Map', keyType(field), single);
  return field.label === 'repeated' ? `${arrayElement(single)}[]` : single;
}

/** The type of one value of the field. */
export function receivedSingle({ type }: Field, imports: Imports): string {
  if (type.kind === 'message') return imports.type(type.message);
  if (type.kind === 'enum') return imports.type(type.enum);
  switch (type.scalar) {
    case 'string':
      return 'string';
    case 'bytes':
      return 'Uint8Array';
    case 'bool':
      return 'boolean';
    default:
      return type.scalar.endsWith('64') ? 'bigint' : 'number';
  }
}

/** The types of the field in a message that is given, without `undefined`. */
export function givenTypes(field: Field, imports: Imports): Doc[] {
  const single = givenSingle(field, imports);
  const one = single.join(' | ');
  if (field.label === 'repeated') {
    return [`readonly ${single.length > 1 ? `(${one})` : arrayElement(one)}[]`];
  }
  if (field.label !== 'map') return single;
  const key = keyType(field);
  const map = typeArguments('ReadonlyMap', key === 'bigint' ? 'bigint | number' : key, one);
  if (field.key !== 'string') return [map];
  return [map, ['Readonly', '<', typeArguments('Record', 'string', one), '>']];
}

/** The types of one value of the field. */
export function givenSingle(field: Field, imports: Imports): string[] {
  if (field.type.kind === 'message') return [imports.init(field.type.message)];
  const received = receivedSingle(field, imports);
  return received === 'bigint' ? ['bigint', 'number'] : [received];
}

function arrayElement(type: string): string {
  return type.includes(' ') ? `(${type})` : type;
}

function keyType({ key }: Field): string {
  if (key === 'string') return 'string';
  if (key === 'bool') return 'boolean';
  return key?.endsWith('64') ? 'bigint' : 'number';
}
