import { HeapWriter } from '../codec/arena-writer.js';
import type { MessageType } from '../codec/message-type.js';
import { Reader } from '../codec/reader.js';
import type { StatusError } from './status-error.js';

/** One detail of a status: a `google.protobuf.Any`. */
export interface StatusDetail {
  /** Such as `type.googleapis.com/google.rpc.BadRequest`. */
  readonly typeUrl: string;
  /** The encoded message. */
  readonly value: Uint8Array;
}

/** A field that a request got wrong, as in `google.rpc.BadRequest`. */
export interface FieldViolation {
  /** The path of the field, such as `items[2].price`. */
  readonly field: string;
  readonly description: string;
}

const PREFIX = 'type.googleapis.com/';

/** The detail that holds a message. */
export function detailOf<Init>(type: MessageType<unknown, Init>, message: Init): StatusDetail {
  const writer = new HeapWriter();
  writer.begin();
  type.encode(message, writer);
  return { typeUrl: PREFIX + type.typeName, value: writer.copy() };
}

/** The first detail of a type that an error carries, decoded; `undefined` if it has none. */
export function findDetail<M>(error: StatusError, type: MessageType<M, never>): M | undefined {
  const typeUrl = PREFIX + type.typeName;
  const detail = error.details.find((candidate) => candidate.typeUrl === typeUrl);
  if (detail === undefined) return undefined;
  const { value } = detail;
  return type.decode(new Reader().set(value, 0, value.length), value.length);
}

/** A `google.rpc.BadRequest`. */
export function badRequest(violations: readonly FieldViolation[]): StatusDetail {
  const writer = new HeapWriter();
  writer.begin();
  for (const { field, description } of violations) {
    const mark = writer.fork(TAG_1_MESSAGE);
    if (field !== '') writer.string(TAG_1_MESSAGE, field);
    writer.string(TAG_2_MESSAGE, description);
    writer.join(mark);
  }
  return { typeUrl: `${PREFIX}google.rpc.BadRequest`, value: writer.copy() };
}

/** The value of `grpc-status-details-bin`: a `google.rpc.Status`. */
export function encodeStatusDetails(
  code: number,
  message: string,
  details: readonly StatusDetail[],
): Uint8Array {
  const writer = new HeapWriter();
  writer.begin();
  writer.int32(TAG_1_VARINT, code);
  if (message !== '') writer.string(TAG_2_MESSAGE, message);
  for (const { typeUrl, value } of details) {
    const mark = writer.fork(TAG_3_MESSAGE);
    writer.string(TAG_1_MESSAGE, typeUrl);
    if (value.length > 0) writer.bytesField(TAG_2_MESSAGE, value);
    writer.join(mark);
  }
  return writer.copy();
}

/** The details of a `grpc-status-details-bin`; empty where it cannot be read. */
export function decodeStatusDetails(bytes: Uint8Array): StatusDetail[] {
  const details: StatusDetail[] = [];
  const reader = new Reader().set(bytes, 0, bytes.length);
  try {
    while (reader.pos < bytes.length) {
      const tag = reader.tag();
      if (tag !== TAG_3_MESSAGE) {
        reader.skip(tag);
        continue;
      }
      const outer = reader.enter(reader.uint32());
      let typeUrl = '';
      let value: Uint8Array = new Uint8Array(0);
      while (reader.pos < reader.end) {
        const inner = reader.tag();
        if (inner === TAG_1_MESSAGE) typeUrl = reader.string();
        else if (inner === TAG_2_MESSAGE) value = reader.bytesField();
        else reader.skip(inner);
      }
      reader.leave(outer);
      details.push({ typeUrl, value });
    }
  } catch {
    return [];
  }
  return details;
}

// Field number × 8 + wire type (0 varint, 2 length-delimited), from google/rpc/status.proto,
// google/rpc/error_details.proto and google/protobuf/any.proto.
const TAG_1_VARINT = 8;
const TAG_1_MESSAGE = 10;
const TAG_2_MESSAGE = 18;
const TAG_3_MESSAGE = 26;
