/**
 * `millrace/codec`: what generated modules import, the well-known types, and the errors.
 *
 * What the codecs do where protobuf leaves a choice:
 * - Unknown fields are skipped and not kept: a message that is decoded and encoded again is without them.
 *   Unknown enum values are kept as their numbers.
 * - A field whose wire type is not its own is skipped like an unknown one.
 * - Text that is not UTF-8 is a DecodeError; a lone surrogate is written as U+FFFD.
 * - A received map is a `Map`, with keys of their own type; string keys may be given as an object.
 * - A received `bytes` is a copy, a Uint8Array and never a Buffer. Lengths from 65 to 4,096 share
 *   memory with bytes of other messages (`bytes.buffer` is larger than `bytes`), as Node's Buffers do.
 * - Messages are nested at most 100 deep, both ways.
 * - proto2: `required` is treated as `optional`, defaults and extensions are ignored.
 *
 * @packageDocumentation
 */
export * from './runtime.js';
export * from './well-known.gen.js';
export * from './well-known.js';
