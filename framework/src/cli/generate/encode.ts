import type { Imports } from './imports.js';
import { membersOf } from './members.js';
import type { Field, FieldType, Message } from './model.js';
import { localName } from './names.js';
import {
  block,
  braces,
  call,
  type Doc,
  group,
  hardLine,
  indent,
  join,
  line,
  softLine,
} from './printer.js';
import { keyTypeOf, methodOf, tagOf, wireType } from './wire.js';

/** The method that writes a message: straight-line code in the order of the field numbers. */
export function printEncode(message: Message, imports: Imports): Doc {
  const members = membersOf(message).map((member) => {
    const { property } = 'oneof' in member ? member.oneof : member.field;
    return { member, property, local: localName(property, imports.names) };
  });
  const pattern = members.map(({ property, local }) =>
    property === local ? property : `${property}: ${local}`,
  );
  const body: Doc[] = [`if (typeof message !== 'object') throw ${imports.codec('invalid')}();`];
  if (members.length > 0) body.push(['const ', braces(pattern), ' = message;']);
  for (const { member, local } of members) {
    if ('oneof' in member) body.push(printOneof(member.fields, local, imports));
    else body.push(printField(member.field, local, imports));
  }
  const failure = call(imports.codec('encodeFailure'), message.identifier, 'message', 'error');
  return [
    members.length > 0 ? 'encode(message, writer) ' : 'encode(message) ',
    block(['try ', block(...body), ' catch (error) ', block(['throw ', failure, ';'])]),
  ];
}

function printField(field: Field, local: string, imports: Imports): Doc {
  switch (field.label) {
    case 'map':
      return [`if (${present(local)}) `, block(printMap(field, local, imports))];
    case 'repeated':
      if (field.packed) return when([present(local)], printPacked(field, local));
      return [`if (${present(local)}) `, block(printRepeated(field, local, imports))];
    case 'optional':
      return when([present(local)], ...printSingle(field, local, 'mark', imports));
    default:
      return when(
        [present(local), ...notDefault(field.type, local)],
        ...printSingle(field, local, 'mark', imports),
      );
  }
}

function present(local: string): string {
  return `${local} !== undefined`;
}

/** The conditions under which a field without a presence of its own is written. */
function notDefault(type: FieldType, local: string): string[] {
  if (type.kind !== 'scalar') return [`${local} !== 0`];
  switch (type.scalar) {
    case 'string':
      return [`${local} !== ''`];
    case 'bytes':
      return [`${local}.length !== 0`];
    case 'bool':
      return [`${local} !== false`];
    case 'float':
    case 'double':
      // -0 is not the default: its bytes are not all zero.
      return [`!Object.is(${local}, 0)`];
    default:
      return type.scalar.endsWith('64')
        ? [`${local} !== 0n`, `${local} !== 0`]
        : [`${local} !== 0`];
  }
}

/** The statements that write one value with its tag. */
function printSingle(field: Field, value: string, mark: string, imports: Imports): Doc[] {
  return printValue(field.number, field.type, value, mark, imports);
}

function printValue(
  number: number,
  type: FieldType,
  value: string,
  mark: string,
  imports: Imports,
): Doc[] {
  const tag = String(tagOf(number, wireType(type)));
  if (type.kind !== 'message') return [[call(`writer.${methodOf(type)}`, tag, value), ';']];
  return [
    `const ${mark} = writer.fork(${tag});`,
    [call(`${imports.value(type.message)}.encode`, value, 'writer'), ';'],
    `writer.join(${mark});`,
  ];
}

function printPacked(field: Field, local: string): Doc {
  const method = methodOf(field.type);
  const packed = `writer.packed${method.charAt(0).toUpperCase()}${method.slice(1)}`;
  return [call(packed, String(tagOf(field.number, 2)), local), ';'];
}

function printRepeated(field: Field, local: string, imports: Imports): Doc {
  const head: Doc = ['for (const item of ', call(imports.codec('list'), local), ')'];
  return clause(head, printSingle(field, 'item', 'mark', imports));
}

function printMap(field: Field, local: string, imports: Imports): Doc {
  const head: Doc = ['for (const [key, value] of ', call(imports.codec('entries'), local), ') '];
  return [
    head,
    block(
      `const mark = writer.fork(${tagOf(field.number, 2)});`,
      ...printValue(1, keyTypeOf(field), 'key', 'nested', imports),
      ...printValue(2, field.type, 'value', 'nested', imports),
      'writer.join(mark);',
    ),
  ];
}

function printOneof(fields: readonly Field[], local: string, imports: Imports): Doc {
  const cases = fields.map((field): Doc => {
    const statements = printSingle(field, `${local}.value`, 'mark', imports);
    if (statements.length > 1) {
      return [`case '${field.property}': `, block(...statements, 'break;')];
    }
    return [
      `case '${field.property}':`,
      indent(hardLine, join(hardLine, [...statements, 'break;'])),
    ];
  });
  const fallback: Doc = ['default:', indent(hardLine, `throw ${imports.codec('invalid')}();`)];
  const choice: Doc = [`switch (${local}.case) `, block(...cases, fallback)];
  return [`if (${present(local)}) `, block(choice)];
}

/** An `if`, with braces unless it holds one simple statement. */
function when(conditions: readonly string[], ...statements: readonly Doc[]): Doc {
  const test = group(indent(softLine, join([' &&', line], conditions)), softLine);
  return clause(['if (', test, ')'], statements);
}

/** What follows an `if` or `for`: a statement on the same line if it fits, or a block. */
function clause(head: Doc, statements: readonly Doc[]): Doc {
  const [only] = statements;
  if (statements.length === 1 && only !== undefined) return group(head, indent(line, only));
  return [head, ' ', block(...statements)];
}
