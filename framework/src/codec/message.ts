import { HeapWriter, type Writer } from './arena-writer.js';
import { DecodeError, EncodeError } from './errors.js';
import { type Field, fieldsOf, propertyOf, shortName } from './field.js';
import { findInvalid } from './invalid.js';
import { fromJson, toJson } from './json.js';
import type { JsonValue, MessageType } from './message-type.js';
import { Reader } from './reader.js';
import { registerType } from './registry.js';
import { type AnyMessage, createMessage, equalMessages, mergeMessages } from './value.js';

/** The generated parts of a message type. @internal */
export interface MessageParts<M, Init> {
  readonly typeName: string;
  /** In the order of their numbers. A function, since the types of fields may be declared later. */
  readonly fields: () => readonly Field[];
  encode(message: Init, writer: Writer): void;
  decode(reader: Reader, length: number): M;
  /** Where the JSON mapping has a form of its own, as for google.protobuf.Timestamp. */
  readonly json?: JsonForm<M>;
}

/** A JSON form that does not follow from the fields. @internal */
export interface JsonForm<M> {
  toJson(message: M): JsonValue;
  fromJson(json: JsonValue): M;
}

/** A message type: what is generated, and what follows from the fields. */
class GeneratedMessageType<M, Init> implements MessageType<M, Init> {
  readonly typeName: string;
  readonly encode: (message: Init, writer: Writer) => void;
  readonly decode: (reader: Reader, length: number) => M;
  private readonly parts: MessageParts<M, Init>;
  private table: readonly Field[] | undefined;

  constructor(parts: MessageParts<M, Init>) {
    this.typeName = parts.typeName;
    this.encode = parts.encode;
    this.decode = parts.decode;
    this.parts = parts;
    this.table = undefined;
  }

  get fields(): readonly Field[] {
    this.table ??= this.parts.fields();
    return this.table;
  }

  get hasJsonForm(): boolean {
    return this.parts.json !== undefined;
  }

  create(init?: Init): M {
    return createMessage(this.fields, (init ?? {}) as AnyMessage) as M;
  }

  equals(a: M, b: M): boolean {
    return equalMessages(this.fields, a as AnyMessage, b as AnyMessage);
  }

  toJson(message: M): JsonValue {
    return this.parts.json ? this.parts.json.toJson(message) : toJson(this, message as AnyMessage);
  }

  fromJson(json: JsonValue): M {
    return this.parts.json ? this.parts.json.fromJson(json) : (fromJson(this, json) as M);
  }
}

/** Called by generated code for each message type, which becomes known to `findType`. @internal */
export function message<M, Init>(parts: MessageParts<M, Init>): MessageType<M, Init> {
  const type = new GeneratedMessageType(parts);
  registerType(type);
  return type;
}

/**
 * What generated code throws when `encode` of that message failed: the error with the path of the
 * field. Called at every level of nesting, so that the path begins at the outermost message.
 *
 * @internal
 */
export function encodeFailure(type: object, message: unknown, error: unknown): unknown {
  const { typeName } = type as MessageType<unknown>;
  const found = findInvalid(type, typeName, message);
  return found ? new EncodeError(found.reason, shortName(typeName), found.path) : error;
}

/** What generated code throws when `decode` failed behind `tag`: the error with the field's path. @internal */
export function decodeFailure(type: object, tag: number, error: unknown): unknown {
  if (!(error instanceof DecodeError)) return error;
  const { typeName, fields } = type as GeneratedMessageType<unknown, unknown>;
  const field = fields.find(({ number }) => number === tag >>> 3);
  return error.within(shortName(typeName), field ? propertyOf(field) : '');
}

/** What `decode` makes of a field of message type, of which it may have read a part before. @internal */
export function merge<M, Init>(type: MessageType<M, Init>, previous: M | undefined, next: M): M {
  if (previous === undefined) return next;
  const fields = fieldsOf(type) ?? [];
  return mergeMessages(fields, previous as AnyMessage, next as AnyMessage) as M;
}

/** The bytes of a message, in memory of their own. @throws EncodeError */
export function toBinary<M, Init>(type: MessageType<M, Init>, message: Init): Uint8Array {
  const writer = new HeapWriter();
  writer.begin();
  type.encode(message, writer);
  return writer.copy();
}

/** The message of these bytes. @throws DecodeError */
export function fromBinary<M, Init>(type: MessageType<M, Init>, bytes: Uint8Array): M {
  return type.decode(new Reader(bytes), bytes.length);
}
