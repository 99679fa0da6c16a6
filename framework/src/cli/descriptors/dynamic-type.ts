import {
  type Field,
  fieldValue,
  isDefault,
  type MapKey,
  propertyOf,
  type Scalar,
} from '../../codec/field.js';
import {
  decodeFailure,
  encodeFailure,
  entries,
  invalid,
  list,
  type MessageType,
  merge,
  message,
  type Reader,
  type Writer,
} from '../../codec/index.js';
import { type AnyMessage, createMessage, defaultOf } from '../../codec/value.js';

/** A field of a dynamic type: what the cold paths know of it, and how its lists are written. */
export interface DynamicField extends Field {
  /** Lists of numbers are written as one value. Both forms are read. */
  readonly packed: boolean;
}

/**
 * A message type that interprets its fields instead of being generated for them: for contracts that
 * are first seen when the program runs.
 *
 * @param fields called once, when first needed, since types may refer to one another
 */
export function dynamicType(
  typeName: string,
  fields: () => readonly DynamicField[],
): MessageType<AnyMessage, AnyMessage> {
  let known: Known | undefined;
  const table = () => {
    known ??= knownFields(fields());
    return known;
  };
  const type: MessageType<AnyMessage, AnyMessage> = message<AnyMessage, AnyMessage>({
    typeName,
    fields: () => table().fields,
    encode(given, writer) {
      try {
        if (typeof given !== 'object') throw invalid();
        for (const field of table().fields) encodeField(field, fieldValue(field, given), writer);
      } catch (error) {
        throw encodeFailure(type, given, error);
      }
    },
    decode(reader, length) {
      let tag = 0;
      try {
        const outer = reader.enter(length);
        const { fields: all, byNumber } = table();
        const received = createMessage(all, {});
        while (reader.pos < reader.end) {
          tag = reader.tag();
          const field = byNumber.get(tag >>> 3);
          if (field === undefined || !decodeField(field, tag & 7, received, reader)) {
            reader.skip(tag);
          }
        }
        reader.leave(outer);
        return received;
      } catch (error) {
        throw decodeFailure(type, tag, error);
      }
    },
  });
  return type;
}

interface Known {
  readonly fields: readonly DynamicField[];
  readonly byNumber: ReadonlyMap<number, DynamicField>;
}

function knownFields(fields: readonly DynamicField[]): Known {
  return { fields, byNumber: new Map(fields.map((field) => [field.number, field])) };
}

// Wire types: https://protobuf.dev/programming-guides/encoding/#structure
const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

function wireType(scalar: Scalar): number {
  switch (scalar) {
    case 'double':
    case 'fixed64':
    case 'sfixed64':
      return FIXED64;
    case 'float':
    case 'fixed32':
    case 'sfixed32':
      return FIXED32;
    case 'string':
    case 'bytes':
      return LENGTH;
    default:
      return VARINT;
  }
}

/** What is on the wire for one value of the field; messages are not scalars. */
function scalarOf(field: Field): Scalar | undefined {
  return field.enum === undefined ? field.scalar : 'int32';
}

// ---- writing

function encodeField(field: DynamicField, value: unknown, writer: Writer): void {
  if (value === undefined || isDefault(field, value)) return;
  if (field.map !== undefined) {
    encodeMap(field, field.map, value as ReadonlyMap<unknown, unknown>, writer);
  } else if (!field.repeated) encodeSingle(field, field.number, value, writer);
  else if (field.packed) encodePacked(field, value as readonly unknown[], writer);
  else {
    for (const item of list(value as readonly unknown[])) {
      encodeSingle(field, field.number, item, writer);
    }
  }
}

function encodeMap(
  field: DynamicField,
  key: MapKey,
  map: ReadonlyMap<unknown, unknown>,
  writer: Writer,
): void {
  for (const [name, item] of entries(map)) {
    const mark = writer.fork(field.number * 8 + LENGTH);
    encodeScalar(key, 1, name, writer);
    encodeSingle(field, 2, item, writer);
    writer.join(mark);
  }
}

function encodeSingle(field: Field, number: number, value: unknown, writer: Writer): void {
  if (field.message === undefined) {
    encodeScalar(scalarOf(field) as Scalar, number, value, writer);
    return;
  }
  const mark = writer.fork(number * 8 + LENGTH);
  field.message.encode(value, writer);
  writer.join(mark);
}

function encodeScalar(scalar: Scalar, number: number, value: unknown, writer: Writer): void {
  // A tag has 32 bits, of which the shift would take the highest for a sign.
  const tag = number * 8 + wireType(scalar);
  const method = scalar === 'bytes' ? 'bytesField' : scalar;
  (writer[method] as (tag: number, value: unknown) => void).call(writer, tag, value);
}

type Packable = Exclude<Scalar, 'string' | 'bytes'>;

function encodePacked(field: DynamicField, values: readonly unknown[], writer: Writer): void {
  const scalar = scalarOf(field) as Packable;
  const method = `packed${scalar.charAt(0).toUpperCase()}${scalar.slice(1)}` as 'packedInt32';
  writer[method](field.number * 8 + LENGTH, values as readonly number[]);
}

// ---- reading

/** Whether the value behind the tag was the field's; if not, it is still to be skipped. */
function decodeField(
  field: DynamicField,
  wire: number,
  received: AnyMessage,
  reader: Reader,
): boolean {
  const scalar = scalarOf(field);
  const property = propertyOf(field);
  if (field.map !== undefined) {
    if (wire !== LENGTH) return false;
    decodeEntry(field, field.map, received[property] as Map<unknown, unknown>, reader);
    return true;
  }
  if (field.repeated) {
    const items = received[property] as unknown[];
    if (scalar !== undefined && wire === LENGTH && wireType(scalar) !== LENGTH) {
      const outer = reader.narrow();
      while (reader.pos < reader.end) items.push(readScalar(scalar, reader));
      reader.widen(outer);
      return true;
    }
    if (wire !== expectedWire(field)) return false;
    items.push(readSingle(field, reader));
    return true;
  }
  if (wire !== expectedWire(field)) return false;
  const value = readSingle(field, reader);
  const merged =
    field.message === undefined ? value : merge(field.message, fieldValue(field, received), value);
  if (field.oneof === undefined) received[property] = merged;
  else received[field.oneof] = { case: property, value: merged };
  return true;
}

function decodeEntry(
  field: DynamicField,
  keyScalar: MapKey,
  map: Map<unknown, unknown>,
  reader: Reader,
): void {
  const outer = reader.enter(reader.uint32());
  let key = defaultOf({ number: 1, name: 'key', scalar: keyScalar });
  let value = field.message === undefined ? defaultOf(field) : undefined;
  while (reader.pos < reader.end) {
    const tag = reader.tag();
    if (tag === 8 + wireType(keyScalar)) key = readScalar(keyScalar, reader);
    else if (tag === 16 + expectedWire(field)) {
      const read = readSingle(field, reader);
      value = field.message === undefined ? read : merge(field.message, value, read);
    } else reader.skip(tag);
  }
  reader.leave(outer);
  map.set(key, value ?? field.message?.create());
}

function expectedWire(field: Field): number {
  const scalar = scalarOf(field);
  return scalar === undefined ? LENGTH : wireType(scalar);
}

function readSingle(field: Field, reader: Reader): unknown {
  return field.message === undefined
    ? readScalar(scalarOf(field) as Scalar, reader)
    : field.message.decode(reader, reader.uint32());
}

function readScalar(scalar: Scalar, reader: Reader): unknown {
  return scalar === 'bytes' ? reader.bytesField() : reader[scalar]();
}
