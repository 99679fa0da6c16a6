import { docComment } from './comments.js';
import type { Enum } from './model.js';
import { block, type Doc, hardLine, union } from './printer.js';

/** The values as a constant object, and a type that admits values of later versions too. */
export function printEnum(declared: Enum): Doc {
  const { identifier, values } = declared;
  return [
    docComment(declared.doc),
    `export const ${identifier} = `,
    block(...values.map(({ name, number, doc }) => [docComment(doc), `${name}: ${number},`])),
    ' as const;',
    hardLine,
    hardLine,
    docComment(declared.doc),
    `export type ${identifier} = `,
    union([`(typeof ${identifier})[keyof typeof ${identifier}]`, '(number & {})']),
    ';',
  ];
}
