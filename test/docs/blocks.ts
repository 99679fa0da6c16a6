// The code blocks of the documents that a stranger reads.

import { files, text } from '../tidy/tree.js';

/** A block between two fences. */
export interface Block {
  /** The path of its document, from the root. */
  readonly document: string;
  /** The line of its first line of code, from 1. */
  readonly line: number;
  /** The first word behind the fence: `ts`; empty if there is none. */
  readonly language: string;
  /** The words behind that. */
  readonly marks: readonly string[];
  readonly code: string;
}

/** What is read by people who use Millrace, and by those who change it. */
export const documents = files(/\.md$/);

/** What may stand behind a fence, and which marks may follow. CONTRIBUTING.md says what they mean. */
const LANGUAGES: Readonly<Record<string, RegExp>> = {
  ts: /^(run|continue|foreign|handlers|[A-Z]\w*)$/,
  proto: /^[\w/]+\.proto$/,
  sh: /^never$/,
  console: /^never$/,
  json: /^never$/,
  ini: /^never$/,
  text: /^never$/,
};

export const blocks = documents.flatMap(blocksOf);

/** Fences that nothing is known about. */
export const unknownFences = blocks
  .filter(
    ({ language, marks }) =>
      language !== '' &&
      (LANGUAGES[language] === undefined ||
        !marks.every((mark) => LANGUAGES[language]?.test(mark))),
  )
  .map(({ document, line, language, marks }) => `${document}:${line - 1}: ${language} ${marks}`);

function blocksOf(document: string): Block[] {
  const found: Block[] = [];
  let open: { line: number; info: string; code: string[] } | undefined;
  for (const [index, line] of text(document).split('\n').entries()) {
    if (!line.startsWith('```')) {
      open?.code.push(line);
    } else if (open === undefined) {
      open = { line: index + 2, info: line.slice(3).trim(), code: [] };
    } else {
      const [language = '', ...marks] = open.info.split(/\s+/);
      found.push({ document, line: open.line, language, marks, code: `${open.code.join('\n')}\n` });
      open = undefined;
    }
  }
  return found;
}

/** The document with its code taken out: what stands in single backticks is left. */
export function prose(document: string): string {
  let inside = false;
  return text(document)
    .split('\n')
    .map((line) => {
      if (line.startsWith('```')) {
        inside = !inside;
        return '';
      }
      return inside ? '' : line;
    })
    .join('\n');
}
