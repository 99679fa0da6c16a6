import { type Doc, hardLine, lines } from './printer.js';

/** The lines of a doc comment, each followed by a newline; nothing if there is no text. */
export function docComment(text: string | undefined): Doc {
  if (text === undefined) return '';
  const rows = text
    .split('\n')
    .map((row) => row.trimEnd().replaceAll('*/', '*\\/'))
    // A newline ends every row, and Biome keeps one blank row at most.
    .filter((row, index, all) => row !== '' || all[index - 1] !== '');
  if (rows.length === 1) return [`/** ${rows[0]} */`, hardLine];
  return [lines('/**', ...rows.map((row) => (row === '' ? ' *' : ` * ${row}`)), ' */'), hardLine];
}

/** A comment that belongs to the module, not to what it declares first. */
export function fileDoc(text: string): Doc {
  return lines(...text.split('\n').map((row) => `// ${row}`.trimEnd()));
}

/** The comment that stands directly above the first statement of a .proto file. */
export function fileComment(source: string): string | undefined {
  const match =
    /((?:^[ \t]*\/\/.*\n)+|\/\*(?:(?!\*\/)[\s\S])*\*\/[ \t]*\n)[ \t]*(?:syntax|edition|package)\b/m.exec(
      source,
    );
  if (!match?.[1]) return undefined;
  const text = match[1]
    .split('\n')
    .map((row) => row.replace(/^\s*(?:\/\/|\/\*+|\*(?!\/))? ?/, '').replace(/\s*\*\/\s*$/, ''))
    .join('\n')
    .trim();
  return text === '' ? undefined : text;
}
