import { receivedType } from './field-types.js';
import type { Imports } from './imports.js';
import { type Member, membersOf } from './members.js';
import type { Field, FieldType, Message } from './model.js';
import { localName } from './names.js';
import {
  block,
  braces,
  call,
  conditional,
  type Doc,
  group,
  hardLine,
  indent,
  line,
  union,
} from './printer.js';
import { defaultLiteral, keyTypeOf, methodOf, tagOf, wireType } from './wire.js';

/**
 * The method that reads a message: a variable for each field, a switch over the tags, one object
 * literal at the end. A tag whose wire type is not the field's is skipped like an unknown field.
 */
export function printDecode(message: Message, imports: Imports): Doc {
  const members = membersOf(message).map((member) => {
    const { property } = 'oneof' in member ? member.oneof : member.field;
    return { member, property, local: localName(property, imports.names) };
  });
  const variables = members.map(({ member, property, local }) =>
    printVariable(member, property, local, message, imports),
  );
  const cases = members.flatMap(({ member, local }) =>
    'oneof' in member
      ? member.fields.map((field) => printOneofCase(field, local, imports))
      : printCases(member.field, local, imports),
  );
  const result = members.map(({ property, local }) =>
    property === local ? property : `${property}: ${local}`,
  );
  const failure = call(imports.codec('decodeFailure'), message.identifier, 'tag', 'error');
  return [
    'decode(reader, length) ',
    block('let tag = 0;', [
      'try ',
      block(
        'const outer = reader.enter(length);',
        ...variables,
        [
          'while (reader.pos < reader.end) ',
          block('tag = reader.tag();', ...dispatch('tag', cases)),
        ],
        'reader.leave(outer);',
        ['return ', braces(result), ';'],
      ),
      ' catch (error) ',
      block(['throw ', failure, ';']),
    ]),
  ];
}

/** The switch over the tags; without cases every field is skipped. */
function dispatch(tag: string, cases: readonly Doc[]): Doc[] {
  const skip = `reader.skip(${tag});`;
  if (cases.length === 0) return [skip];
  return [[`switch (${tag}) `, block(...cases, ['default:', indent(hardLine, skip)])]];
}

function printVariable(
  member: Member,
  property: string,
  local: string,
  message: Message,
  imports: Imports,
): Doc {
  if ('oneof' in member) return `let ${local}: ${message.identifier}['${property}'];`;
  const { field } = member;
  const type = receivedType(field, imports);
  switch (field.label) {
    case 'map':
      return [`const ${local} = new `, type, '();'];
    case 'repeated':
      return assignment([`const ${local}: `, type], '[]');
    case 'optional':
      return [`let ${local}: `, union([type, 'undefined']), ';'];
    default:
      return printDefault(field.type, local, type, imports);
  }
}

function printDefault(type: FieldType, local: string, typeName: Doc, imports: Imports): Doc {
  const isBytes = type.kind === 'scalar' && type.scalar === 'bytes';
  const literal = defaultLiteral(type, isBytes ? imports.codec('EMPTY_BYTES') : '');
  if (type.kind === 'enum') return [`let ${local}: `, typeName, ` = ${literal};`];
  return `let ${local} = ${literal};`;
}

function printCases(field: Field, local: string, imports: Imports): Doc[] {
  if (field.label === 'map') return [printMapCase(field, local, imports)];
  const tag = tagOf(field.number, wireType(field.type));
  if (field.label !== 'repeated') {
    const value = single(field.type, local, imports);
    return [printCase(tag, assignment(local, value))];
  }
  const push: Doc = [call(`${local}.push`, read(field.type, imports)), ';'];
  const cases = [printCase(tag, push)];
  if (wireType(field.type) !== 2) {
    const loop = group('while (reader.pos < reader.end)', indent(line, push));
    const body = block('const packed = reader.narrow();', loop, 'reader.widen(packed);', 'break;');
    cases.push([`case ${tagOf(field.number, 2)}: `, body]);
  }
  return cases;
}

function printCase(tag: number, statement: Doc): Doc {
  return [`case ${tag}:`, indent(hardLine, statement, hardLine, 'break;')];
}

function printOneofCase(field: Field, local: string, imports: Imports): Doc {
  const tag = tagOf(field.number, wireType(field.type));
  const same = `${local}?.case === '${field.property}'`;
  const previous = conditional(same, `${local}.value`, 'undefined');
  const value = single(field.type, previous, imports);
  const union = braces([`case: '${field.property}'`, ['value: ', value]]);
  return printCase(tag, [`${local} = `, union, ';']);
}

function printMapCase(field: Field, local: string, imports: Imports): Doc {
  const { type } = field;
  const key = keyTypeOf(field);
  const isMessage = type.kind === 'message';
  const value: Doc = isMessage
    ? ['let value: ', union([imports.type(type.message), 'undefined']), ';']
    : printDefault(type, 'value', type.kind === 'enum' ? imports.type(type.enum) : '', imports);
  const cases = [
    printCase(tagOf(1, wireType(key)), assignment('key', read(key, imports))),
    printCase(tagOf(2, wireType(type)), assignment('value', single(type, 'value', imports))),
  ];
  const stored = isMessage
    ? group(['value ??', indent(line, `${imports.value(type.message)}.decode(reader, 0)`)])
    : 'value';
  return [
    `case ${tagOf(field.number, 2)}: `,
    block(
      'const entry = reader.enter(reader.uint32());',
      printDefault(key, 'key', '', imports),
      value,
      [
        'while (reader.pos < reader.end) ',
        block('const inner = reader.tag();', ...dispatch('inner', cases)),
      ],
      [call(`${local}.set`, 'key', stored), ';'],
      'reader.leave(entry);',
      'break;',
    ),
  ];
}

/** The value of a singular field, of which a message may have come in part before. */
function single(type: FieldType, previous: Doc, imports: Imports): Doc {
  const value = read(type, imports);
  if (type.kind !== 'message') return value;
  return call(imports.codec('merge'), imports.value(type.message), previous, value);
}

function read(type: FieldType, imports: Imports): Doc {
  if (type.kind !== 'message') return `reader.${methodOf(type)}()`;
  return call(`${imports.value(type.message)}.decode`, 'reader', 'reader.uint32()');
}

/** `left = right;`, with the right side on a line of its own if it must be. */
function assignment(left: Doc, right: Doc): Doc {
  if (typeof right !== 'string') return [left, ' = ', right, ';'];
  return group(left, ' =', group(indent(line)), indent(right), ';');
}
