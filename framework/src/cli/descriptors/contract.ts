import {
  anyFile,
  durationFile,
  emptyFile,
  type FileDescriptor,
  fieldMaskFile,
  findType,
  fromBinary,
  type MapKey,
  type MessageType,
  type Scalar,
  structFile,
  timestampFile,
  wrappersFile,
} from '../../codec/index.js';
import type { AnyMessage } from '../../codec/value.js';
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FeatureSet,
  FeatureSet_FieldPresence,
  FeatureSet_MessageEncoding,
  FeatureSet_RepeatedFieldEncoding,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProto,
  type MethodDescriptorProto,
  type ServiceDescriptorProto,
} from '../../gen/google/protobuf/descriptor.js';
import type { MethodDescriptor, MethodKind } from '../../service/descriptor.js';
import { CliError } from '../cli-error.js';
import type { DescriptorSource } from './descriptor-source.js';
import { type DynamicField, dynamicType } from './dynamic-type.js';

/** A type that was made of its description. */
export type DynamicType = MessageType<AnyMessage, AnyMessage>;

/** A service of a contract. */
export interface ContractService {
  readonly typeName: string;
  readonly methods: readonly MethodDescriptor[];
}

/** What is declared below a file, with what it inherits. */
interface Declared<T> {
  readonly proto: T;
  readonly syntax: Syntax;
  readonly features: Features;
}

type Syntax = 'proto2' | 'proto3' | 'editions';

/** The features of editions that codecs depend on. */
interface Features {
  readonly implicit: boolean;
  readonly packed: boolean;
  readonly delimited: boolean;
}

/** The types whose JSON is not an object of their fields come from the codec. */
const shipped: readonly FileDescriptor[] = [
  anyFile,
  durationFile,
  emptyFile,
  fieldMaskFile,
  structFile,
  timestampFile,
  wrappersFile,
];
const shippedTypes = new Set(
  shipped.flatMap(({ bytes }) =>
    fromBinary(FileDescriptorProto, bytes).messageType.map(({ name }) => `google.protobuf.${name}`),
  ),
);

/**
 * Services and types as far as they have been asked for, made of descriptions at run time.
 *
 * `load` fetches; what is loaded is then there at once.
 */
export class Contract {
  readonly source: DescriptorSource;
  readonly #files = new Set<string>();
  readonly #messages = new Map<string, Declared<DescriptorProto>>();
  readonly #enums = new Map<string, EnumDescriptorProto>();
  readonly #services = new Map<string, ServiceDescriptorProto>();
  readonly #types = new Map<string, DynamicType>();

  constructor(source: DescriptorSource) {
    this.source = source;
  }

  /** Makes what a symbol needs known. Answers false if the source does not know the symbol. */
  async load(symbol: string): Promise<boolean> {
    if (this.#messages.has(symbol) || this.#services.has(symbol) || this.#enums.has(symbol)) {
      return true;
    }
    const files = await this.source.fileOfSymbol(symbol);
    if (files === undefined) return false;
    const missing = new Set<string>();
    for (const bytes of files) this.#add(bytes, missing);
    // A Set iterates over what is added meanwhile.
    for (const path of missing) {
      if (this.#files.has(path)) continue;
      const own = shipped.find((file) => file.path === path);
      const found = own === undefined ? await this.source.fileByPath(path) : [own.bytes];
      // What is missing is missed when it is used: many imports are for options alone.
      for (const bytes of found ?? []) this.#add(bytes, missing);
    }
    return true;
  }

  service(name: string): ContractService | undefined {
    const declared = this.#services.get(name);
    if (declared === undefined) return undefined;
    return {
      typeName: name,
      methods: declared.method.map((method) => this.#method(name, method)),
    };
  }

  /** The fields of a message; `undefined` if it is not loaded. */
  message(name: string): DescriptorProto | undefined {
    return this.#messages.get(name)?.proto;
  }

  enum(name: string): EnumDescriptorProto | undefined {
    return this.#enums.get(name);
  }

  /** The type of that name. @throws CliError if it is not loaded */
  type(name: string): DynamicType {
    if (shippedTypes.has(name)) return findType(name) as DynamicType;
    let type = this.#types.get(name);
    if (type === undefined) {
      const declared = this.#messages.get(name);
      if (declared === undefined) throw this.#unknown(name);
      type = dynamicType(name, () =>
        declared.proto.field
          .toSorted((a, b) => (a.number ?? 0) - (b.number ?? 0))
          .flatMap((field) => this.#field(field, declared)),
      );
      this.#types.set(name, type);
    }
    return type;
  }

  #method(service: string, method: MethodDescriptorProto): MethodDescriptor {
    const name = method.name ?? '';
    return {
      name,
      path: `/${service}/${name}`,
      kind: kindOf(method),
      input: this.type(bare(method.inputType)),
      output: this.type(bare(method.outputType)),
    };
  }

  #add(bytes: Uint8Array, missing: Set<string>): void {
    const file = fromBinary(FileDescriptorProto, bytes);
    const path = file.name ?? '';
    if (this.#files.has(path)) return;
    this.#files.add(path);
    for (const dependency of file.dependency) missing.add(dependency);
    const syntax = syntaxOf(file);
    const features = merged(defaultsOf(syntax), file.options?.features);
    const scope = file.package ?? '';
    for (const proto of file.messageType) this.#addMessage(scope, { proto, syntax, features });
    for (const declared of file.enumType) this.#enums.set(join(scope, declared.name), declared);
    for (const declared of file.service) this.#services.set(join(scope, declared.name), declared);
  }

  #addMessage(scope: string, { proto, syntax, features }: Declared<DescriptorProto>): void {
    const name = join(scope, proto.name);
    const own = merged(features, proto.options?.features);
    this.#messages.set(name, { proto, syntax, features: own });
    for (const nested of proto.nestedType) {
      this.#addMessage(name, { proto: nested, syntax, features: own });
    }
    for (const nested of proto.enumType) this.#enums.set(join(name, nested.name), nested);
  }

  /** Groups have no field: they are skipped like unknown ones. */
  #field(
    proto: FieldDescriptorProto,
    { proto: owner, syntax, features }: Declared<DescriptorProto>,
  ) {
    const own = merged(features, proto.options?.features);
    const isMessage = proto.type === FieldDescriptorProto_Type.TYPE_MESSAGE;
    if (proto.type === FieldDescriptorProto_Type.TYPE_GROUP) return [];
    if (isMessage && own.delimited) return [];
    const name = proto.name ?? '';
    const oneof = proto.proto3Optional ? undefined : owner.oneofDecl[proto.oneofIndex ?? -1]?.name;
    const repeated = proto.label === FieldDescriptorProto_Label.LABEL_REPEATED;
    const entry = isMessage && repeated ? this.#entryOf(bare(proto.typeName)) : undefined;
    const [key, value] = entry?.field ?? [];
    const type = this.#typeOfField(value ?? proto);
    const field: DynamicField = {
      number: proto.number ?? 0,
      name,
      // As it is: no other field or oneof of the message is called the same.
      property: name,
      ...(proto.jsonName === undefined ? {} : { json: proto.jsonName }),
      ...type,
      repeated: repeated && entry === undefined,
      ...(key === undefined ? {} : { map: scalarName(key) as MapKey }),
      optional: !repeated && (syntax === 'proto3' ? proto.proto3Optional === true : !own.implicit),
      ...(oneof === undefined ? {} : { oneof }),
      packed:
        repeated &&
        type.message === undefined &&
        type.scalar !== 'string' &&
        type.scalar !== 'bytes' &&
        (proto.options?.packed ?? own.packed),
    };
    return [field];
  }

  #entryOf(name: string): DescriptorProto | undefined {
    const declared = this.#messages.get(name)?.proto;
    return declared?.options?.mapEntry === true ? declared : undefined;
  }

  #typeOfField(proto: FieldDescriptorProto): Pick<DynamicField, 'scalar' | 'enum' | 'message'> {
    if (proto.type === FieldDescriptorProto_Type.TYPE_MESSAGE) {
      return { message: this.type(bare(proto.typeName)) };
    }
    if (proto.type !== FieldDescriptorProto_Type.TYPE_ENUM) return { scalar: scalarName(proto) };
    const name = bare(proto.typeName);
    const declared = this.#enums.get(name);
    if (declared === undefined) throw this.#unknown(name);
    return {
      enum: Object.fromEntries(declared.value.map((value) => [value.name, value.number ?? 0])),
    };
  }

  #unknown(name: string): CliError {
    return new CliError(`${this.source.name} refers to ${name} and does not describe it`, {
      remedy: 'Name the .proto file that declares it with --proto.',
    });
  }
}

function kindOf({ clientStreaming, serverStreaming }: MethodDescriptorProto): MethodKind {
  if (clientStreaming) return serverStreaming ? 'bidi' : 'client-streaming';
  return serverStreaming ? 'server-streaming' : 'unary';
}

function syntaxOf({ syntax }: FileDescriptorProto): Syntax {
  return syntax === 'proto3' || syntax === 'editions' ? syntax : 'proto2';
}

/** https://protobuf.dev/editions/features/ */
function defaultsOf(syntax: Syntax): Features {
  return { implicit: syntax === 'proto3', packed: syntax !== 'proto2', delimited: false };
}

function merged(features: Features, own: FeatureSet | undefined): Features {
  if (own === undefined) return features;
  const { fieldPresence, repeatedFieldEncoding, messageEncoding } = own;
  return {
    implicit: fieldPresence
      ? fieldPresence === FeatureSet_FieldPresence.IMPLICIT
      : features.implicit,
    packed: repeatedFieldEncoding
      ? repeatedFieldEncoding === FeatureSet_RepeatedFieldEncoding.PACKED
      : features.packed,
    delimited: messageEncoding
      ? messageEncoding === FeatureSet_MessageEncoding.DELIMITED
      : features.delimited,
  };
}

const scalarNames = new Map<number, string>(
  Object.entries(FieldDescriptorProto_Type).map(([name, number]) => [
    number,
    name.slice('TYPE_'.length).toLowerCase(),
  ]),
);

function scalarName({ type }: FieldDescriptorProto): Scalar {
  return scalarNames.get(type ?? 0) as Scalar;
}

/** Names in descriptors have a leading dot. */
function bare(name = ''): string {
  return name.startsWith('.') ? name.slice(1) : name;
}

function join(scope: string, name = ''): string {
  return scope === '' ? name : `${scope}.${name}`;
}
