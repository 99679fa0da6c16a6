import { docComment } from './comments.js';
import { printDecode } from './decode.js';
import { printEncode } from './encode.js';
import { givenSingle, givenTypes, receivedSingle, receivedType } from './field-types.js';
import { printFields } from './fields.js';
import type { Imports } from './imports.js';
import { type Member, membersOf } from './members.js';
import type { Field, Message } from './model.js';
import {
  block,
  type Doc,
  group,
  hardLine,
  ifBroken,
  indent,
  join,
  line,
  textProperty,
  typeArguments,
  union,
  WIDTH,
} from './printer.js';

/** The two interfaces of a message and its MessageType. */
export function printMessage(message: Message, imports: Imports): Doc {
  const { identifier, init, doc } = message;
  const members = membersOf(message);
  const received = members.map((member) => printMember(member, imports, false));
  const given = members.map((member) => printMember(member, imports, true));
  return [
    docComment(doc),
    `export interface ${identifier} `,
    received.length === 0 ? '{}' : block(...received),
    hardLine,
    hardLine,
    docComment(`What can be given for a ${identifier}: every field may be left out.`),
    `export interface ${init} `,
    given.length === 0 ? '{}' : block(...given),
    hardLine,
    hardLine,
    docComment(doc),
    printType(message, imports),
  ];
}

function printMember(member: Member, imports: Imports, init: boolean): Doc {
  if ('oneof' in member) {
    const cases = member.fields.map((field) => printCase(field, imports, init));
    return [
      docComment(member.oneof.doc),
      member.oneof.property,
      init ? '?: ' : ': ',
      union([...cases, 'undefined']),
      ';',
    ];
  }
  const { field } = member;
  const types = init ? givenTypes(field, imports) : [receivedType(field, imports)];
  if (init || field.label === 'optional') types.push('undefined');
  return [docComment(field.doc), field.property, init ? '?: ' : ': ', union(types), ';'];
}

/** `{ case: 'text'; value: string }`, over several lines if it is documented or too long. */
function printCase(field: Field, imports: Imports, init: boolean): Doc {
  const value = init ? givenSingle(field, imports) : [receivedSingle(field, imports)];
  const parts: Doc[] = [`case: '${field.property}'`, ['value: ', union(value)]];
  if (field.doc === undefined) return objectType(parts);
  return block([docComment(field.doc), parts[0] as Doc, ';'], [parts[1] as Doc, ';']);
}

/** An object type with members of one line each, if it does not fit on one. */
function objectType(parts: readonly Doc[]): Doc {
  return group('{', indent(line, join([';', line], parts)), ifBroken(';'), line, '}');
}

/** The MessageType constant, laid out by how long its name is. */
function printType(message: Message, imports: Imports): Doc {
  const { identifier, init, fullName } = message;
  const type = imports.codec('MessageType');
  const json = imports.jsonForm(fullName);
  const define: Doc = [
    `${imports.codec('message')}(`,
    block(
      [textProperty('typeName', `'${fullName}'`), ','],
      ['fields: () => ', printFields(message, imports), ','],
      [printEncode(message, imports), ','],
      [printDecode(message, imports), ','],
      ...(json === undefined ? [] : [`json: ${json},`]),
    ),
    ');',
  ];
  const left = `export const ${identifier}: ${type}`;
  const { length } = `${left}<${identifier}, ${init}> =`;
  const typed = typeArguments(left, identifier, init);
  const alone = length <= WIDTH && length + ' codec.message({'.length > WIDTH;
  return alone ? [typed, ' =', indent(hardLine, define)] : [typed, ' = ', define];
}
