import type { MapKey, Scalar } from '../../codec/field.js';

/** A .proto file as the generator sees it: resolved, checked and with TypeScript names. */
export interface ProtoFile {
  /** As other files import it: `millrace/echo/v1/echo.proto`. */
  readonly path: string;
  /** The comment that stands directly above the file's first statement. */
  readonly doc: string | undefined;
  /** Nested messages follow the one they are declared in. */
  readonly messages: readonly Message[];
  readonly enums: readonly Enum[];
  readonly services: readonly Service[];
  /** How many extensions it declares; the codecs ignore them, reflection does not. */
  readonly extensions: number;
  /** Shipped with the codec runtime. */
  readonly wellKnown: boolean;
  /** What the module exports for reflection. */
  readonly descriptor: FileDescriptor;
}

/** Whether there is anything to make a module of. */
export function declaresAnything(file: ProtoFile): boolean {
  const { messages, enums, services, extensions } = file;
  return messages.length + enums.length + services.length + extensions > 0;
}

export interface FileDescriptor {
  /** The name of the constant: `echoFile`. */
  readonly identifier: string;
  /** In the order of the dependencies of the FileDescriptorProto. */
  readonly imports: readonly ProtoFile[];
  /** The serialized google.protobuf.FileDescriptorProto. */
  readonly bytes: Uint8Array;
}

export interface Message {
  /** `package.Outer.Inner` */
  readonly fullName: string;
  readonly file: ProtoFile;
  /** The name of its interface and its MessageType: `Outer_Inner`. */
  readonly identifier: string;
  /** The name of the interface in which it is given: `Outer_InnerInit`. */
  readonly init: string;
  readonly doc: string | undefined;
  /** By number. */
  readonly fields: readonly Field[];
}

export interface Field {
  readonly number: number;
  readonly name: string;
  readonly jsonName: string;
  /** The property of the message, or the `case` of the oneof. */
  readonly property: string;
  /** `implicit`: absent and default are one. `optional`: they differ. */
  readonly label: 'implicit' | 'optional' | 'repeated' | 'map';
  readonly type: FieldType;
  /** The key's type of a map. */
  readonly key: MapKey | undefined;
  readonly packed: boolean;
  readonly oneof: Oneof | undefined;
  readonly doc: string | undefined;
}

export type FieldType =
  | { readonly kind: 'scalar'; readonly scalar: Scalar }
  | { readonly kind: 'enum'; readonly enum: Enum }
  | { readonly kind: 'message'; readonly message: Message };

export interface Oneof {
  readonly name: string;
  readonly property: string;
  readonly doc: string | undefined;
}

export interface Enum {
  readonly fullName: string;
  readonly file: ProtoFile;
  readonly identifier: string;
  readonly doc: string | undefined;
  readonly values: readonly EnumValue[];
}

export interface EnumValue {
  readonly name: string;
  readonly number: number;
  readonly doc: string | undefined;
}

export interface Service {
  readonly fullName: string;
  readonly file: ProtoFile;
  readonly identifier: string;
  readonly doc: string | undefined;
  readonly methods: readonly Method[];
}

export interface Method {
  readonly name: string;
  readonly property: string;
  readonly kind: 'unary' | 'client-streaming' | 'server-streaming' | 'bidi';
  readonly input: Message;
  readonly output: Message;
  readonly doc: string | undefined;
}
