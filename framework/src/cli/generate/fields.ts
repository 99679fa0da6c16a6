import { lowerCamel } from '../../codec/field.js';
import type { Imports } from './imports.js';
import type { Field, Message } from './model.js';
import { braces, type Doc, hardLine, indent, join, list } from './printer.js';

/** The table of fields that the cold paths of the runtime walk through. */
export function printFields(message: Message, imports: Imports): Doc {
  const rows = message.fields.map((field) => printRow(field, imports));
  if (rows.length < 2) return list('[', rows, ']');
  // More than one object in an array are printed on a line each.
  return ['[', indent(hardLine, join([',', hardLine], rows), ','), hardLine, ']'];
}

function printRow(field: Field, imports: Imports): Doc {
  const camel = lowerCamel(field.name);
  const { type } = field;
  const row = [`number: ${field.number}`, `name: '${field.name}'`];
  if (field.property !== camel) row.push(`property: '${field.property}'`);
  if (field.jsonName !== camel) row.push(`json: ${quote(field.jsonName)}`);
  if (type.kind === 'scalar') row.push(`scalar: '${type.scalar}'`);
  else if (type.kind === 'enum') row.push(`enum: ${imports.value(type.enum)}`);
  else row.push(`message: ${imports.value(type.message)}`);
  if (field.label === 'repeated') row.push('repeated: true');
  if (field.label === 'map') row.push(`map: '${field.key}'`);
  if (field.oneof) row.push(`oneof: '${field.oneof.property}'`);
  else if (field.label === 'optional' && type.kind !== 'message') row.push('optional: true');
  return braces(row);
}

/** A string literal with the quotes that need fewer escapes. */
function quote(text: string): string {
  const json = JSON.stringify(text);
  const double = text.split('"').length;
  if (text.split("'").length > double) return json;
  return `'${json.slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;
}
