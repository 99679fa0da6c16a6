import { createRequire } from 'node:module';
import { isDeepStrictEqual } from 'node:util';
import protobuf from 'protobufjs';
import { lowerCamel } from '../../codec/field.js';
import type { FileHeader } from './file-header.js';

/** What is declared directly in a file, in its order, and what it says of itself. */
export interface Declarations {
  readonly path: string;
  readonly header: FileHeader;
  readonly objects: readonly protobuf.ReflectionObject[];
  /** The paths of its imports, as the descriptor is to have them. */
  readonly dependencies: readonly string[];
}

type Plain = Record<string, unknown>;

/**
 * The serialized google.protobuf.FileDescriptorProto of a file, as protoc would make it: `json_name`
 * always, types by their full names, an entry message for each map, a oneof for each optional field
 * of proto3. Custom options are left out: their extensions need not be known to a server.
 */
export function describeFile({ path, header, objects, dependencies }: Declarations): Uint8Array {
  for (const { options } of objects) dropInherited(options, header.options['features']);
  const at = (paths: ReadonlySet<string>) =>
    dependencies.flatMap((dependency, index) => (paths.has(dependency) ? [index] : []));
  const description = {
    name: path,
    package: header.package,
    dependency: dependencies,
    publicDependency: at(header.publicImports),
    weakDependency: at(header.weakImports),
    ...declarations(objects),
    service: objects.filter((object) => object instanceof protobuf.Service).map(describeService),
    ...withOptions('FileOptions', header.options),
    ...syntaxOf(header),
  };
  return serialize(description);
}

/** The types that the declarations refer to. */
export function* referredTypes(
  objects: readonly protobuf.ReflectionObject[],
): Generator<protobuf.ReflectionObject> {
  for (const object of objects) {
    if (object instanceof protobuf.Type) {
      yield* referredTypes([...fieldsOf(object), ...object.nestedArray]);
    } else if (object instanceof protobuf.Field && isDescribed(object)) {
      const type = lookUp(object, object.type);
      if (type) yield type;
      const extended = extendeeOf(object);
      if (extended) yield extended;
    } else if (object instanceof protobuf.Service) {
      for (const { requestType, responseType } of object.methodsArray) {
        yield object.lookupType(requestType);
        yield object.lookupType(responseType);
      }
    }
  }
}

/** Whether a field is in the descriptor. Extensions of options are left out with the options. */
export function isDescribed(field: protobuf.Field): boolean {
  if (field.extend === undefined) return true;
  const extended = extendeeOf(field);
  return extended !== undefined && !extended.fullName.startsWith('.google.protobuf.');
}

/** The message that an extension extends. */
function extendeeOf(field: protobuf.Field): protobuf.ReflectionObject | undefined {
  if (field.extend === undefined) return undefined;
  return (
    (field.parent as protobuf.NamespaceBase).lookup(field.extend, [protobuf.Type]) ?? undefined
  );
}

/** The fields that are declared in a message; the parser adds those that extend it. */
function fieldsOf(type: protobuf.Type): protobuf.Field[] {
  return type.fieldsArray.filter((field) => field.declaringField === null);
}

/** The parser copies the features of an edition's file to its declarations. */
function dropInherited(options: Plain | undefined, features: unknown): void {
  if (options === undefined || features === undefined) return;
  if (isDeepStrictEqual(options['features'], features)) delete options['features'];
}

function syntaxOf({ syntax, edition }: FileHeader): Plain {
  if (edition !== undefined) return { syntax: 'editions', edition: `EDITION_${edition}` };
  return syntax === 'proto2' ? {} : { syntax };
}

/** What files and messages have in common. */
function declarations(objects: readonly protobuf.ReflectionObject[]): Plain {
  const extensions = objects.filter(
    (object): object is protobuf.Field => object instanceof protobuf.Field && isDescribed(object),
  );
  return {
    enumType: objects.filter((object) => object instanceof protobuf.Enum).map(describeEnum),
    messageType: objects.filter((object) => object instanceof protobuf.Type).map(describeMessage),
    extension: extensions.map((field) => describeField(field, undefined)),
  };
}

function describeMessage(type: protobuf.Type): Plain {
  const fields = fieldsOf(type);
  const { enumType, messageType, extension } = declarations(type.nestedArray);
  const synthetic = fields.filter(isSynthetic);
  const oneofs = type.oneofsArray.filter((oneof) => !oneof.fieldsArray.some(isSynthetic));
  const taken = new Set([...Object.keys(type.fields), ...oneofs.map(({ name }) => name)]);
  const oneofNames = [
    ...oneofs.map(({ name }) => name),
    ...synthetic.map(({ name }) => syntheticName(name, taken)),
  ];
  const indexOf = (field: protobuf.Field): number | undefined => {
    if (isSynthetic(field)) return oneofs.length + synthetic.indexOf(field);
    return field.partOf ? oneofs.indexOf(field.partOf) : undefined;
  };
  const maps = fields.flatMap((field: protobuf.FieldBase) =>
    field instanceof protobuf.MapField ? [field] : [],
  );
  return {
    name: type.name,
    field: fields.map((field) => describeField(field, indexOf(field))),
    nestedType: [...(messageType as Plain[]), ...maps.map(describeEntry)],
    enumType,
    extension,
    extensionRange: (type.extensions ?? []).map((range) => halfOpen(range as number[])),
    oneofDecl: oneofNames.map((name, index) => ({
      name,
      ...withOptions('OneofOptions', oneofs[index]?.options),
    })),
    ...withOptions('MessageOptions', type.options),
    reservedRange: reservedRanges(type).map(halfOpen),
    reservedName: reservedNames(type),
  };
}

function describeField(field: protobuf.Field, oneofIndex: number | undefined): Plain {
  const name = nameOf(field);
  const map = field instanceof protobuf.MapField;
  const type = map ? undefined : lookUp(field, field.type);
  const label =
    map || field.repeated ? 'REPEATED' : field.rule === 'required' ? 'REQUIRED' : 'OPTIONAL';
  const typeName = map ? `${field.parent?.fullName}.${entryName(name)}` : type?.fullName;
  const extended = extendeeOf(field);
  const jsonName = field.options?.['json_name'];
  return {
    name,
    number: field.id,
    label: `LABEL_${label}`,
    type: `TYPE_${typeCode(field.type, map, type)}`,
    ...(typeName === undefined ? {} : { typeName }),
    ...(extended === undefined ? {} : { extendee: extended.fullName }),
    ...defaultOf(field, type),
    ...(oneofIndex === undefined ? {} : { oneofIndex }),
    jsonName: typeof jsonName === 'string' ? jsonName : lowerCamel(name),
    ...withOptions('FieldOptions', field.options),
    ...(isSynthetic(field) ? { proto3Optional: true } : {}),
  };
}

/** The message of which a map is repeated on the wire. */
function describeEntry(field: protobuf.MapField): Plain {
  const type = lookUp(field, field.type);
  const typeName = type === undefined ? {} : { typeName: type.fullName };
  const part = (name: string, number: number, code: string) => {
    return { name, number, label: 'LABEL_OPTIONAL', type: `TYPE_${code}`, jsonName: name };
  };
  return {
    name: entryName(field.name),
    field: [
      part('key', 1, field.keyType.toUpperCase()),
      { ...part('value', 2, typeCode(field.type, false, type)), ...typeName },
    ],
    options: { mapEntry: true },
  };
}

function describeEnum(declared: protobuf.Enum): Plain {
  return {
    name: declared.name,
    value: Object.entries(declared.values).map(([name, number]) => ({
      name,
      number,
      ...withOptions('EnumValueOptions', declared.valuesOptions?.[name]),
    })),
    ...withOptions('EnumOptions', declared.options),
    // Unlike those of messages, these include their end.
    reservedRange: reservedRanges(declared).map(([start, end]) => ({ start, end })),
    reservedName: reservedNames(declared),
  };
}

function describeService(service: protobuf.Service): Plain {
  return {
    name: service.name,
    method: service.methodsArray.map((method) => ({
      name: method.name,
      inputType: service.lookupType(method.requestType).fullName,
      outputType: service.lookupType(method.responseType).fullName,
      ...withOptions('MethodOptions', method.options),
      ...(method.requestStream ? { clientStreaming: true } : {}),
      ...(method.responseStream ? { serverStreaming: true } : {}),
    })),
    ...withOptions('ServiceOptions', service.options),
  };
}

function lookUp(field: protobuf.FieldBase, name: string): protobuf.ReflectionObject | undefined {
  if (Object.hasOwn(protobuf.types.basic, name)) return undefined;
  const parent = field.parent as protobuf.NamespaceBase;
  return parent.lookup(name, [protobuf.Type, protobuf.Enum]) ?? undefined;
}

function typeCode(name: string, map: boolean, type: protobuf.ReflectionObject | undefined): string {
  if (map || type instanceof protobuf.Type) return 'MESSAGE';
  return type instanceof protobuf.Enum ? 'ENUM' : name.toUpperCase();
}

/** An optional field of proto3, for which the descriptor has a oneof with it alone. */
function isSynthetic(field: protobuf.Field): boolean {
  return field.options?.['proto3_optional'] === true && field.extend === undefined;
}

/** protoc's rule for the name of that oneof. */
function syntheticName(field: string, taken: Set<string>): string {
  let name = field.startsWith('_') ? field : `_${field}`;
  while (taken.has(name)) name = `X${name}`;
  taken.add(name);
  return name;
}

/** protoc's rule for the name of a map's entry message: `text_by_id` has a TextByIdEntry. */
function entryName(field: string): string {
  const camel = lowerCamel(field);
  return `${camel.charAt(0).toUpperCase()}${camel.slice(1)}Entry`;
}

/** The parser brings the fields of the well-known types in lowerCamelCase. */
function nameOf({ name, fullName }: protobuf.Field): string {
  if (!fullName.startsWith('.google.protobuf.')) return name;
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function defaultOf(field: protobuf.Field, type: protobuf.ReflectionObject | undefined): Plain {
  const value: unknown = field.options?.['default'];
  if (value === undefined || type instanceof protobuf.Type) return {};
  return { defaultValue: defaultText(value, field.type) };
}

function defaultText(value: unknown, type: string): string {
  if (type === 'bytes') return escaped(String(value));
  if (typeof value === 'number' && !Number.isInteger(value)) {
    // Number's own words are Infinity and NaN.
    return String(value).replace('Infinity', 'inf').replace('NaN', 'nan');
  }
  return String(value);
}

/** Bytes as in a C string. */
function escaped(text: string): string {
  return [...Buffer.from(text, 'utf8')]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      if (/["'\\]/.test(character)) return `\\${character}`;
      if (byte >= 0x20 && byte < 0x7f) return character;
      const short: Record<number, string> = { 9: '\\t', 10: '\\n', 13: '\\r' };
      return short[byte] ?? `\\${byte.toString(8).padStart(3, '0')}`;
    })
    .join('');
}

type Reserving = protobuf.Type | protobuf.Enum;

function reservedRanges({ reserved }: Reserving): number[][] {
  return (reserved ?? []).filter((entry) => typeof entry !== 'string');
}

function reservedNames({ reserved }: Reserving): string[] {
  return (reserved ?? []).filter((entry) => typeof entry === 'string');
}

function halfOpen([start, end]: readonly number[]): Plain {
  return { start, end: (end ?? 0) + 1 };
}

/** The options that the type of options declares, under the names it has here. */
function withOptions(type: string, given: Plain | undefined): Plain {
  const options = optionsOf(descriptorType(type), given ?? {});
  return Object.keys(options).length === 0 ? {} : { options };
}

function optionsOf(type: protobuf.Type, given: Plain): Plain {
  const options: Plain = {};
  for (const [name, value] of Object.entries(given)) {
    const field = type.fields[lowerCamel(name)] ?? type.fields[name];
    if (field === undefined) continue;
    const nested = field.resolve().resolvedType;
    const one =
      nested instanceof protobuf.Type && typeof value === 'object' && value !== null
        ? optionsOf(nested, value as Plain)
        : value;
    options[field.name] = field.repeated && !Array.isArray(one) ? [one] : one;
  }
  return options;
}

const require = createRequire(import.meta.url);

/** The types of descriptor.proto, which comes with the parser. */
const descriptors = protobuf.Root.fromJSON(
  require('protobufjs/google/protobuf/descriptor.json') as protobuf.INamespace,
).resolveAll();

function descriptorType(name: string): protobuf.Type {
  return descriptors.lookupType(`google.protobuf.${name}`);
}

function serialize(description: Plain): Uint8Array {
  const type = descriptorType('FileDescriptorProto');
  return type.encode(type.fromObject(description)).finish();
}
