import {
  type DescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
} from '../../gen/google/protobuf/descriptor.js';
import type { Contract } from './contract.js';

/** A service, message or enum: as data, and as a .proto file would declare it. */
export interface SymbolDescription {
  readonly data: object;
  readonly text: string;
}

/** `undefined` for what is none of these, or not loaded. */
export function describeSymbol(contract: Contract, name: string): SymbolDescription | undefined {
  const service = contract.service(name);
  if (service !== undefined) {
    const methods = service.methods.map(({ name, kind, input, output }) => ({
      name,
      kind,
      input: input.typeName,
      output: output.typeName,
    }));
    const lines = methods.map(({ name, kind, input, output }) => {
      const taken = kind === 'client-streaming' || kind === 'bidi' ? 'stream ' : '';
      const returned = kind === 'server-streaming' || kind === 'bidi' ? 'stream ' : '';
      return `rpc ${name}(${taken}${input}) returns (${returned}${output});`;
    });
    return declaration('service', name, { methods }, lines);
  }
  const message = contract.message(name);
  if (message !== undefined) {
    const fields = message.field.map((field) => describeField(contract, message, field));
    const lines = fields.map(({ name, number, type, label, oneof }) => {
      const before = label === undefined ? '' : `${label} `;
      return `${before}${type} ${name} = ${number};${oneof === undefined ? '' : ` // one of ${oneof}`}`;
    });
    return declaration('message', name, { fields }, lines);
  }
  const declared = contract.enum(name);
  if (declared === undefined) return undefined;
  const values = declared.value.map(({ name, number }) => ({ name, number }));
  return declaration(
    'enum',
    name,
    { values },
    values.map(({ name, number }) => `${name} = ${number};`),
  );
}

function declaration(
  kind: string,
  name: string,
  data: object,
  lines: readonly string[],
): SymbolDescription {
  const body = lines.map((line) => `  ${line}\n`).join('');
  return { data: { kind, name, ...data }, text: `${kind} ${name} {\n${body}}` };
}

interface DescribedField {
  readonly name: string;
  readonly json: string;
  readonly number: number;
  readonly type: string;
  readonly label: 'optional' | 'repeated' | 'required' | undefined;
  readonly oneof: string | undefined;
}

function describeField(
  contract: Contract,
  owner: DescriptorProto,
  field: FieldDescriptorProto,
): DescribedField {
  const { LABEL_REPEATED, LABEL_REQUIRED } = FieldDescriptorProto_Label;
  const entry = contract.message(typeName(field));
  const [key, value] = entry?.options?.mapEntry === true ? entry.field : [];
  const isMap = key !== undefined && value !== undefined;
  const repeated = field.label === LABEL_REPEATED ? 'repeated' : undefined;
  const required = field.label === LABEL_REQUIRED ? 'required' : undefined;
  const optional = field.proto3Optional === true ? 'optional' : undefined;
  return {
    name: field.name ?? '',
    json: field.jsonName ?? '',
    number: field.number ?? 0,
    type: isMap ? `map<${typeName(key)}, ${typeName(value)}>` : typeName(field),
    label: isMap ? undefined : (repeated ?? required ?? optional),
    oneof: field.proto3Optional ? undefined : owner.oneofDecl[field.oneofIndex ?? -1]?.name,
  };
}

function typeName({ type, typeName }: FieldDescriptorProto): string {
  if (typeName) return typeName.replace(/^\./, '');
  const names = Object.entries(FieldDescriptorProto_Type);
  const [name = ''] = names.find(([, number]) => number === type) ?? [];
  return name.slice('TYPE_'.length).toLowerCase();
}
