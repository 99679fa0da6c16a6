import type { Imports } from './imports.js';
import type { ProtoFile } from './model.js';
import { call, type Doc, list } from './printer.js';

/** The constant that holds the file's description for reflection. */
export function printFile(file: ProtoFile, imports: Imports): Doc {
  const { identifier, imports: imported, bytes } = file.descriptor;
  const files = list(
    '[',
    imported.map((other) => imports.descriptor(other)),
    ']',
  );
  const base64 = Buffer.from(bytes).toString('base64');
  return [
    `export const ${identifier} = `,
    call(imports.codec('file'), `'${file.path}'`, files, `'${base64}'`),
    ';',
  ];
}
