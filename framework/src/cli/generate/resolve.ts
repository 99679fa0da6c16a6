import protobuf from 'protobufjs';
import { lowerCamel, type MapKey, type Scalar } from '../../codec/field.js';
import { fileComment } from './comments.js';
import { describeFile, isDescribed, referredTypes } from './file-descriptor.js';
import { readHeader } from './file-header.js';
import { GenerateError } from './generate-error.js';
import {
  declaresAnything,
  type Enum,
  type EnumValue,
  type Field,
  type FieldType,
  type Message,
  type Method,
  type Oneof,
  type ProtoFile,
  type Service,
} from './model.js';
import { identifier, methodName, propertyName } from './names.js';
import { checkRestrictions } from './restrictions.js';
import { placeOf, type Source, type Sources, WELL_KNOWN_FILES } from './sources.js';

/**
 * Turns what was parsed into what is printed: references resolved, rules checked, names given.
 * Returns the files that were asked for and those whose types they use, sorted by path.
 */
export function resolveFiles(sources: Sources): ProtoFile[] {
  return new Resolver(sources).resolve();
}

/** Until the file is described. */
const NO_DESCRIPTOR = { identifier: '', imports: [], bytes: new Uint8Array() };

/** The parser brings the well-known types without the text of their files. */
const WELL_KNOWN_HEADER = 'syntax = "proto3"; package google.protobuf;';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

class Resolver {
  private readonly sources: Sources;
  private readonly files = new Map<string, Mutable<ProtoFile>>();
  private readonly messages = new Map<protobuf.Type, Mutable<Message>>();
  private readonly enums = new Map<protobuf.Enum, Enum>();
  private readonly services: [protobuf.Service, Source][] = [];
  /** What is declared at the top level of each file. */
  private readonly objects = new Map<string, readonly protobuf.ReflectionObject[]>();
  private readonly extensions: [protobuf.Field, string][] = [];
  private readonly used = new Set<string>();

  constructor(sources: Sources) {
    this.sources = sources;
  }

  resolve(): ProtoFile[] {
    const { root, byPath, asked } = this.sources;
    for (const { path, text } of byPath.values()) {
      const wellKnown = WELL_KNOWN_FILES.includes(path);
      const doc = fileComment(text);
      const declared = { messages: [], enums: [], services: [], extensions: 0 };
      this.files.set(path, { path, doc, ...declared, wellKnown, descriptor: NO_DESCRIPTOR });
    }
    // Features (presence, packing) are inherited from the file; this computes them and no more.
    root._resolveFeaturesRecursive('proto2');
    this.declare(root);
    for (const file of this.files.values()) nameModule(file, this.sources.byPath.get(file.path));
    for (const path of asked) this.used.add(path);
    // Fields may lead to files that are not in `used` yet; a Set iterates over what is added.
    for (const path of this.used) this.complete(path);
    // Of the files that were asked for it is known.
    const imported = [...this.used].filter((path) => !asked.includes(path));
    const diagnostics = imported.flatMap((path) => checkRestrictions(byPath.get(path) as Source));
    if (diagnostics.length > 0) throw new GenerateError(diagnostics);
    for (const path of this.used) this.describe(path);
    return [...this.used].sort().map((path) => this.files.get(path) as ProtoFile);
  }

  /** Enters the declarations of a namespace into their files. */
  private declare(namespace: protobuf.NamespaceBase): void {
    for (const object of namespace.nestedArray) {
      const path = pathOf(object);
      const file = path === undefined ? undefined : this.files.get(path);
      if (file && !(namespace instanceof protobuf.Type)) {
        this.objects.set(file.path, [...(this.objects.get(file.path) ?? []), object]);
      }
      if (object instanceof protobuf.Type && file) {
        const fullName = nameOf(object);
        const message = {
          fullName,
          file,
          identifier: '',
          init: '',
          doc: docOf(object),
          fields: [],
        };
        this.messages.set(object, message);
        file.messages = [...file.messages, message];
        this.declare(object);
      } else if (object instanceof protobuf.Enum && file) {
        const declared = this.enumOf(object, file);
        this.enums.set(object, declared);
        file.enums = [...file.enums, declared];
      } else if (object instanceof protobuf.Service && file) {
        this.services.push([object, this.sources.byPath.get(file.path) as Source]);
        const service = {
          fullName: nameOf(object),
          file,
          identifier: '',
          doc: docOf(object),
          methods: [],
        };
        file.services = [...file.services, service];
      } else if (object instanceof protobuf.Field && file && isDescribed(object)) {
        file.extensions++;
        this.extensions.push([object, file.path]);
      } else if (object instanceof protobuf.Namespace) {
        this.declare(object);
      }
    }
  }

  /** Resolves the fields and methods of a file's declarations. */
  private complete(path: string): void {
    const source = this.sources.byPath.get(path);
    for (const [type, message] of this.messages) {
      if (message.file.path === path) message.fields = this.fieldsOf(type, source);
    }
    for (const [extension, of] of this.extensions) {
      if (of !== path) continue;
      for (const type of referredTypes([extension])) this.use(this.declared(type));
    }
    for (const [service, { path: of }] of this.services) {
      if (of !== path) continue;
      const file = this.files.get(path) as ProtoFile;
      const declared = file.services.find((s) => s.fullName === nameOf(service));
      (declared as Mutable<Service>).methods = this.methodsOf(service, source);
    }
  }

  /** Describes a file for reflection. */
  private describe(path: string): void {
    const file = this.files.get(path) as Mutable<ProtoFile>;
    const source = this.sources.byPath.get(path) as Source;
    const objects = this.objects.get(path) ?? [];
    const header = readHeader(file.wellKnown ? WELL_KNOWN_HEADER : source.text);
    const dependencies = this.dependenciesOf(path, source.imports, objects);
    file.descriptor = {
      identifier: file.descriptor.identifier,
      imports: dependencies.map((dependency) => this.files.get(dependency) as ProtoFile),
      bytes: describeFile({ path, header, objects, dependencies }),
    };
  }

  /**
   * The imports that have a module, and the files of types that are reached through one that has
   * none. An import for the sake of custom options alone has none.
   */
  private dependenciesOf(
    path: string,
    imports: readonly string[],
    objects: readonly protobuf.ReflectionObject[],
  ): string[] {
    const kept = imports.filter((imported) => this.hasModule(imported));
    const visible = new Set([path, ...kept]);
    for (const at of visible) {
      if (at === path) continue;
      const { text, imports: further } = this.sources.byPath.get(at) as Source;
      const { publicImports } = readHeader(text);
      for (const next of further) if (publicImports.has(next)) visible.add(next);
    }
    for (const type of referredTypes(objects)) {
      const declaredIn = pathOf(type);
      if (declaredIn === undefined || visible.has(declaredIn)) continue;
      visible.add(declaredIn);
      kept.push(declaredIn);
    }
    return kept;
  }

  private hasModule(path: string): boolean {
    const file = this.files.get(path) as ProtoFile;
    return file.wellKnown || (this.used.has(path) && declaresAnything(file));
  }

  private fieldsOf(type: protobuf.Type, source: Source | undefined): Field[] {
    const oneofs = new Map<protobuf.OneOf, Oneof>();
    for (const oneof of type.oneofsArray) {
      if (isOptionalMarker(oneof)) continue;
      const property = propertyName(oneof.name);
      oneofs.set(oneof, { name: oneof.name, property, doc: docOf(oneof) });
    }
    // The parser enters an extension into the message that it extends, too.
    const declared = type.fieldsArray.filter(({ declaringField }) => declaringField === null);
    const fields = declared.map((field) => this.fieldOf(field, source, oneofs));
    return fields.sort((a, b) => a.number - b.number);
  }

  private fieldOf(
    field: protobuf.Field,
    source: Source | undefined,
    oneofs: ReadonlyMap<protobuf.OneOf, Oneof>,
  ): Field {
    const { name, id: number } = field;
    const pattern = fieldPattern(name, number);
    const fail = (reason: string): GenerateError =>
      new GenerateError([{ ...placeOf(source, pattern), message: reason }]);
    const type = this.typeOf(field, fail);
    if (type.kind === 'message' && features(field)['message_encoding'] === 'DELIMITED') {
      throw fail(`field ${name} is a group, which is not supported; make it a message`);
    }
    const map = field instanceof protobuf.MapField;
    const oneof = field.partOf ? oneofs.get(field.partOf) : undefined;
    const jsonName = field.options?.['json_name'];
    return {
      number,
      name,
      jsonName: typeof jsonName === 'string' ? jsonName : lowerCamel(name),
      property: propertyName(name),
      label: map
        ? 'map'
        : field.repeated
          ? 'repeated'
          : type.kind !== 'message' && !field.hasPresence
            ? 'implicit'
            : 'optional',
      type,
      key: map ? (field.keyType as MapKey) : undefined,
      packed: field.repeated && field.packed && isPackable(type),
      oneof,
      doc: docOf(field),
    };
  }

  private typeOf(field: protobuf.Field, fail: (reason: string) => GenerateError): FieldType {
    if (Object.hasOwn(protobuf.types.basic, field.type)) {
      return { kind: 'scalar', scalar: field.type as Scalar };
    }
    const resolved = (field.parent as protobuf.Type).lookup(field.type, [
      protobuf.Type,
      protobuf.Enum,
    ]);
    if (resolved instanceof protobuf.Enum) {
      const found = this.enums.get(resolved);
      if (found) return { kind: 'enum', enum: this.use(found) };
    } else if (resolved instanceof protobuf.Type) {
      const found = this.messages.get(resolved);
      if (found) return { kind: 'message', message: this.use(found) };
    }
    throw fail(
      `${field.type}, the type of field ${field.name}, is not declared; is an import missing?`,
    );
  }

  private declared(type: protobuf.ReflectionObject): Message | Enum {
    const found = this.messages.get(type as protobuf.Type) ?? this.enums.get(type as protobuf.Enum);
    return found as Message | Enum;
  }

  /** The file of a type that is referred to is generated too. */
  private use<T extends { readonly file: ProtoFile }>(declared: T): T {
    if (!declared.file.wellKnown) this.used.add(declared.file.path);
    return declared;
  }

  private enumOf(declared: protobuf.Enum, file: ProtoFile): Enum {
    const values: EnumValue[] = Object.entries(declared.values).map(([name, number]) => ({
      name,
      number,
      doc: withDeprecation(declared.comments[name], declared.valuesOptions?.[name]),
    }));
    return { fullName: nameOf(declared), file, identifier: '', doc: docOf(declared), values };
  }

  private methodsOf(service: protobuf.Service, source: Source | undefined): Method[] {
    return service.methodsArray.map((method) => {
      const { name, requestStream, responseStream } = method;
      const property = methodName(name);
      const pattern = new RegExp(`\\brpc\\s+${name}\\b`);
      const message = (typeName: string): Message => {
        const resolved = service.lookup(typeName, [protobuf.Type]);
        const found = resolved instanceof protobuf.Type ? this.messages.get(resolved) : undefined;
        if (found) return this.use(found);
        const reason = `${typeName}, a type of rpc ${name}, is no declared message; is an import missing?`;
        throw new GenerateError([{ ...placeOf(source, pattern), message: reason }]);
      };
      return {
        name,
        property,
        kind: requestStream
          ? responseStream
            ? 'bidi'
            : 'client-streaming'
          : responseStream
            ? 'server-streaming'
            : 'unary',
        input: message(method.requestType),
        output: message(method.responseType),
        doc: docOf(method),
      };
    });
  }
}

/** Gives the declarations of a file their names in the module. */
function nameModule(file: Mutable<ProtoFile>, source: Source | undefined): void {
  const taken = new Map<string, string>();
  const packageName = packageOf(file, source);
  for (const declared of [...file.messages, ...file.enums, ...file.services]) {
    const local = packageName ? declared.fullName.slice(packageName.length + 1) : declared.fullName;
    const name = identifier(local.replaceAll('.', '_'));
    taken.set(name, declared.fullName);
    (declared as Mutable<typeof declared>).identifier = name;
  }
  const base = file.path.slice(file.path.lastIndexOf('/') + 1).replace(/\.proto$/, '');
  let descriptor = `${lowerCamel(base.replace(/\W/g, '_').replace(/^(?=\d)/, '_'))}File`;
  while (taken.has(descriptor)) descriptor += '$';
  taken.set(descriptor, file.path);
  file.descriptor = { ...file.descriptor, identifier: descriptor };
  for (const message of file.messages) {
    let init = `${message.identifier}Init`;
    while (taken.has(init)) init += '$';
    taken.set(init, message.fullName);
    (message as Mutable<Message>).init = init;
  }
}

function packageOf(file: ProtoFile, source: Source | undefined): string {
  if (file.wellKnown) return 'google.protobuf';
  return /^\s*package\s+([\w.]+)\s*;/m.exec(source?.text ?? '')?.[1] ?? '';
}

function pathOf(object: protobuf.ReflectionObject): string | undefined {
  for (let at: protobuf.ReflectionObject | null = object; at; at = at.parent) {
    if (at.filename) return at.filename;
  }
  const names = nameOf(object);
  return WELL_KNOWN_FILES.find((path) => {
    const json = protobuf.common.get(path) as {
      nested: { google: { nested: { protobuf: { nested: object } } } };
    };
    const declared = json.nested.google.nested.protobuf.nested;
    return Object.keys(declared).some((name) => `google.protobuf.${name}` === names);
  });
}

function nameOf(object: protobuf.ReflectionObject): string {
  return object.fullName.replace(/^\./, '');
}

/** The one-member oneof by which the parser marks an optional field. */
function isOptionalMarker(oneof: protobuf.OneOf): boolean {
  return (
    oneof.fieldsArray.length === 1 && oneof.fieldsArray[0]?.options?.['proto3_optional'] === true
  );
}

function isPackable(type: FieldType): boolean {
  if (type.kind !== 'scalar') return type.kind === 'enum';
  return type.scalar !== 'string' && type.scalar !== 'bytes';
}

function features(object: protobuf.ReflectionObject): Record<string, unknown> {
  return (object as unknown as { _features: Record<string, unknown> })._features;
}

function docOf(object: protobuf.ReflectionObject): string | undefined {
  return withDeprecation(object.comment, object.options);
}

function withDeprecation(comment: unknown, options: unknown): string | undefined {
  const text = typeof comment === 'string' && comment.trim() !== '' ? comment.trim() : undefined;
  const deprecated = (options as { deprecated?: unknown } | undefined)?.deprecated === true;
  if (!deprecated || text?.includes('@deprecated')) return text;
  return text ? `${text}\n\n@deprecated` : '@deprecated';
}

function fieldPattern(name: string, number: number): RegExp {
  return new RegExp(`\\b${name}\\s*=\\s*(?:${number}|0[xX]${number.toString(16)})\\b`);
}
