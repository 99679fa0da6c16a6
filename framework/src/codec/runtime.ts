/** What generated code imports, and with the well-known types all of `millrace/codec`. */
export { entries, HeapWriter, invalid, list, Writer } from './arena-writer.js';
export { CodecError, DecodeError, EncodeError, JsonError } from './errors.js';
export type { EnumValues, Field, MapKey, Scalar } from './field.js';
export { type FileDescriptor, file } from './file.js';
export {
  decodeFailure,
  encodeFailure,
  fromBinary,
  type JsonForm,
  type MessageParts,
  merge,
  message,
  toBinary,
} from './message.js';
export type { JsonObject, JsonValue, MessageType } from './message-type.js';
export { EMPTY_BYTES, RECURSION_LIMIT, Reader } from './reader.js';
export { findType, registerType } from './registry.js';
