// Getting started shows what a recorded run has shown.

import { expect, test } from 'vitest';
import { blocks } from './blocks.js';

/** What each command printed when it was first given, by the transcripts of a document. */
function outputs(document: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const block of blocks) {
    if (block.document !== document || block.language !== 'console') continue;
    for (const entry of block.code.split(/^\$ /m).slice(1)) {
      const [command = '', ...lines] = entry.trimEnd().split('\n');
      if (!found.has(command)) found.set(command, lines);
    }
  }
  return found;
}

test('commands of getting started print what they printed in the recorded run', () => {
  const recorded = outputs('docs/guides/first-minutes.md');
  const shown = [...outputs('docs/guides/getting-started.md')].filter(
    ([command]) => command.startsWith('npx ') && recorded.has(command),
  );
  expect(shown.length).toBeGreaterThan(2);
  expect(Object.fromEntries(shown)).toEqual(
    Object.fromEntries(shown.map(([command]) => [command, recorded.get(command)])),
  );
});
