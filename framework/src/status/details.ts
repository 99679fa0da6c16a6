import { HeapWriter } from '../codec/arena-writer.js';
import { fromBinary, type MessageType, toBinary } from '../codec/index.js';
import { Reader } from '../codec/reader.js';
import { BadRequest } from '../gen/google/rpc/error_details.js';

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
  /** What is wrong with it, for people. */
  readonly description: string;
}

const PREFIX = 'type.googleapis.com/';

/**
 * The detail that holds a message: one of the types of google/rpc/error_details.proto, which are
 * exported beside this, or any other that was generated.
 *
 * ```ts
 * detailOf(ErrorInfo, { reason: 'OUT_OF_STOCK', domain: 'orders.example.com' })
 * ```
 *
 * @throws EncodeError naming the field, if a value is of the wrong type or out of range
 */
export function detailOf<Init>(type: MessageType<unknown, Init>, message: Init): StatusDetail {
  return { typeUrl: PREFIX + type.typeName, value: toBinary(type, message) };
}

/**
 * The first detail of a type that an error carries, decoded; `undefined` if there is none, or none
 * that can be read. As `error.detail(type)`, for errors whose class is not at hand.
 */
export function findDetail<M>(
  error: { readonly details: readonly StatusDetail[] },
  type: MessageType<M, never>,
): M | undefined {
  for (const { typeUrl, value } of error.details) {
    // google/protobuf/any.proto: the type's name stands behind the last slash.
    if (typeUrl.slice(typeUrl.lastIndexOf('/') + 1) !== type.typeName) continue;
    try {
      return fromBinary(type, value);
    } catch {
      // Whoever asks is dealing with one error already; the bytes stay in `details`.
    }
  }
  return undefined;
}

/** A `google.rpc.BadRequest`. */
export function badRequest(violations: readonly FieldViolation[]): StatusDetail {
  return detailOf(BadRequest, { fieldViolations: [...violations] });
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

/** The details of a `grpc-status-details-bin`; `undefined` where it cannot be read. */
export function decodeStatusDetails(bytes: Uint8Array): StatusDetail[] | undefined {
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
    return undefined;
  }
  return details;
}

// Field number × 8 + wire type (0 varint, 2 length-delimited), from google/rpc/status.proto and
// google/protobuf/any.proto.
const TAG_1_VARINT = 8;
const TAG_1_MESSAGE = 10;
const TAG_2_MESSAGE = 18;
const TAG_3_MESSAGE = 26;
