// The commands that the documents name: in blocks of shell, and in single backticks.

import { type Block, blocks, documents, prose } from './blocks.js';

/** One command, without what sets its environment. */
export interface Named {
  /** `docs/guides/tls.md:12` */
  readonly place: string;
  readonly document: string;
  readonly words: readonly string[];
}

export const commands: readonly Named[] = [
  ...blocks
    .filter(({ language }) => language === 'sh' || language === 'console')
    .flatMap(commandsOf),
  ...documents.flatMap(commandsInProse),
];

function commandsOf(block: Block): Named[] {
  const { document, line, language } = block;
  const found: Named[] = [];
  let pending = '';
  for (const [index, text] of block.code.split('\n').entries()) {
    let command = text;
    if (language === 'console') {
      // A transcript: `$ ` before a command, `> ` before its further lines, and what was printed.
      if (!(pending === '' ? text.startsWith('$ ') : text.startsWith('> '))) continue;
      command = text.slice(2);
    }
    pending += command;
    if (/(\\|\|)\s*$/.test(pending)) {
      pending = pending.replace(/\\\s*$/, ' ');
      continue;
    }
    const place = `${document}:${line + index}`;
    for (const words of split(pending)) found.push({ place, document, words });
    pending = '';
  }
  return found;
}

/** What stands in backticks and begins like one of our commands. */
function commandsInProse(document: string): Named[] {
  return (
    [
      ...prose(document).matchAll(
        /`((?:npx |npm |pnpm |node |cd |millrace |create-millrace )[^`]*)`/g,
      ),
    ]
      .map(([, code = '']) => code.replace(/\s+/g, ' '))
      // Not those that leave something open.
      .filter((code) => !/…|<|\[|\w\|\w|^npm run$/.test(code))
      .flatMap((code) => split(code).map((words) => ({ place: document, document, words })))
  );
}

/** The simple commands of a line, each as its words. */
export function split(line: string): string[][] {
  const commands: string[][] = [[]];
  for (const [token, quoted, bare] of line.matchAll(
    /'([^']*)'|#.*$|&&|\|\||[|;]|>>?\s*\S+|((?:[^\s'|;&>#]|\\.)+)/g,
  )) {
    if (token.startsWith('#') || token.startsWith('>')) continue;
    if (/^(&&|\|\||[|;])$/.test(token)) commands.push([]);
    else commands.at(-1)?.push(quoted ?? bare ?? token);
  }
  return commands
    .map((words) => words.slice(words.findIndex((word) => !/^\w+=/.test(word))))
    .filter((words) => words.length > 0 && !words.every((word) => /^\w+=/.test(word)));
}
