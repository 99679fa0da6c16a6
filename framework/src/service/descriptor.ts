import type { FileDescriptor } from '../codec/file.js';
import type { MessageType } from '../codec/message-type.js';

/** How many messages go each way: one or a stream. */
export type MethodKind = 'unary' | 'client-streaming' | 'server-streaming' | 'bidi';

/** A method, as generated code describes it. */
export interface MethodDescriptor {
  /** As in the .proto file: `Say`. */
  readonly name: string;
  /** `/package.Service/Method` */
  readonly path: string;
  /** How many messages go each way. */
  readonly kind: MethodKind;
  /** What the method receives. */
  // biome-ignore lint/suspicious/noExplicitAny: a list of methods mixes message types
  readonly input: MessageType<any, any>;
  /** What the method replies. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly output: MessageType<any, any>;
}

/** A service, as generated code describes it; the keys of `methods` are in lowerCamelCase. */
export interface ServiceDescriptor {
  /** The full name: `millrace.echo.v1.Echo`. */
  readonly typeName: string;
  /** The .proto file that declares it, for reflection. */
  readonly file?: FileDescriptor;
  /** By name in lowerCamelCase. */
  readonly methods: { readonly [name: string]: MethodDescriptor };
}

/** The message that a method receives. */
// biome-ignore lint/suspicious/noExplicitAny: the position that is not asked for
export type InputOf<M> = M extends { readonly input: MessageType<infer I, any> } ? I : never;

/** The message that a method may be given as its reply. */
// biome-ignore lint/suspicious/noExplicitAny: the position that is not asked for
export type ReplyOf<M> = M extends { readonly output: MessageType<any, infer O> } ? O : never;
