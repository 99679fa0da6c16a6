import type { Writer } from './arena-writer.js';
import type { Reader } from './reader.js';

/** Any value that `JSON.parse` may return. */
export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;

/** A JSON object. */
export interface JsonObject {
  [key: string]: JsonValue;
}

/**
 * What the code generator emits for a message: how to write it, read it, compare it and turn it
 * into JSON and back.
 *
 * `M` is the message as it is received: every scalar present, absent messages and optional fields
 * `undefined`. `Init` is the message as it is given: every field optional. An `M` is a valid `Init`.
 */
export interface MessageType<M, Init = M> {
  /** The full protobuf name, such as `millrace.echo.v1.EchoReply`. */
  readonly typeName: string;
  /**
   * Appends the message's bytes at `writer.pos`, without a length prefix.
   *
   * @throws EncodeError naming the field path, if a value has the wrong type or is out of range.
   * The writer then holds a part of the message: `writer.rollback()` removes it.
   */
  encode(message: Init, writer: Writer): void;
  /**
   * Reads exactly `length` bytes from `reader.pos`. The message shares no memory with them.
   *
   * @throws DecodeError naming the field path, if the bytes are no message of this type.
   */
  decode(reader: Reader, length: number): M;
  /** A message with every field of `init` and the defaults of the rest; checks nothing. */
  create(init?: Init): M;
  /** Whether both hold the same fields and values. NaN equals NaN, as equal bytes would. */
  equals(a: M, b: M): boolean;
  /** The proto3 JSON mapping. @throws JsonError naming the field path. */
  toJson(message: M): JsonValue;
  /** The inverse of `toJson`; unknown fields are errors. @throws JsonError naming the field path. */
  fromJson(json: JsonValue): M;
}
