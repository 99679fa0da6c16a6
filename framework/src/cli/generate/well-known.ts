import type { Message, ProtoFile } from './model.js';
import { printModule } from './module.js';
import { resolveFiles } from './resolve.js';
import { readWellKnown } from './sources.js';

/** The messages whose JSON does not follow from their fields, with the constant that says how. */
const JSON_FORMS: readonly (readonly [string, string])[] = [
  ['Any', 'any'],
  ['Duration', 'duration'],
  ['FieldMask', 'fieldMask'],
  ['Struct', 'struct'],
  ['Value', 'value'],
  ['ListValue', 'listValue'],
  ['Timestamp', 'timestamp'],
  ['DoubleValue', 'doubleValue'],
  ['FloatValue', 'floatValue'],
  ['Int64Value', 'int64Value'],
  ['UInt64Value', 'uint64Value'],
  ['Int32Value', 'int32Value'],
  ['UInt32Value', 'uint32Value'],
  ['BoolValue', 'boolValue'],
  ['StringValue', 'stringValue'],
  ['BytesValue', 'bytesValue'],
];

/** The parser brings the declarations without their comments. */
const DOCS: Readonly<Record<string, string>> = {
  Any: 'A message of any type with its name. `packAny` and `unpackAny` make and open one.',
  Duration:
    'A span of time, both parts of the same sign. `durationFromMs` and `durationToMs` convert it.',
  Empty: 'A message without fields.',
  FieldMask: 'A set of fields, each named by its path in the .proto file: `user.display_name`.',
  Struct: 'A JSON object. `Struct.fromJson` and `Struct.toJson` convert it.',
  Value: 'Any JSON value. `Value.fromJson` and `Value.toJson` convert it.',
  ListValue: 'A JSON array. `ListValue.fromJson` and `ListValue.toJson` convert it.',
  NullValue: "JSON's null.",
  Timestamp:
    'A point in time, in seconds since 1970 and nanoseconds from 0 to 999,999,999.\n`timestampFromDate` and `timestampToDate` convert it.',
};

/** The module `codec/well-known.gen.ts`, which the codec runtime ships. */
export function generateWellKnown(): string {
  const files = resolveFiles(readWellKnown());
  const merged: ProtoFile = {
    path: 'the well-known types of protobuf',
    doc: undefined,
    messages: files.flatMap(({ messages }) => messages),
    enums: files.flatMap(({ enums }) => enums),
    services: [],
    extensions: 0,
    wellKnown: true,
    descriptor: { identifier: '', imports: [], bytes: new Uint8Array() },
  };
  for (const declared of [...merged.messages, ...merged.enums]) {
    const mutable = declared as { file: ProtoFile; doc: Message['doc'] };
    mutable.file = merged;
    mutable.doc = DOCS[declared.identifier] ?? docOfWrapper(declared.identifier);
  }
  const names = new Map(JSON_FORMS.map(([name, form]) => [`google.protobuf.${name}`, form]));
  const module = './well-known-json.js';
  const options = { runtime: './runtime.js', jsonForms: { module, names } };
  const text = printModule(merged, options, files);
  return text ?? '';
}

function docOfWrapper(identifier: string): string | undefined {
  const scalar = /^(\w+)Value$/.exec(identifier)?.[1];
  return scalar && `A ${scalar.toLowerCase()} that may be absent.`;
}
