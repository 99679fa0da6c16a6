import { docComment } from './comments.js';
import type { Imports } from './imports.js';
import type { Service } from './model.js';
import { block, type Doc, textProperty } from './printer.js';

/** The constant that `service` and `connect` take: names, paths, kinds and message types. */
export function printService(service: Service, imports: Imports): Doc {
  const methods = service.methods.map((method) => [
    docComment(method.doc),
    `${method.property}: `,
    block(
      [textProperty('name', `'${method.name}'`), ','],
      [textProperty('path', `'/${service.fullName}/${method.name}'`), ','],
      `kind: '${method.kind}',`,
      `input: ${imports.value(method.input)},`,
      `output: ${imports.value(method.output)},`,
    ),
    ',',
  ]);
  return [
    docComment(service.doc),
    `export const ${service.identifier} = `,
    block(
      [textProperty('typeName', `'${service.fullName}'`), ','],
      `file: ${imports.descriptor(service.file)},`,
      methods.length === 0 ? 'methods: {},' : ['methods: ', block(...methods), ','],
    ),
    ' as const;',
  ];
}
