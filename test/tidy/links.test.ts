// Links between the documents lead somewhere.

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { files, root, text } from './tree.js';

const documents = files(/\.md$/);

test('there are documents', () => {
  expect(documents).toContain('README.md');
});

test.each(documents)('%s', (document) => {
  const prose = text(document).replace(/^```[\s\S]*?^```/gm, '');
  const broken = [...prose.matchAll(/\[[^\]]*\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? '')
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? document : join(dirname(document), path);
      if (!existsSync(join(root, target))) return true;
      return anchor !== undefined && !anchors(text(target)).has(anchor);
    });
  expect(broken).toEqual([]);
});

test('docs/README.md leads to every page', () => {
  const index = text('docs/README.md');
  const pages = files(/^docs\/.*\.md$/)
    .map((page) => page.slice('docs/'.length))
    .filter((page) => page !== 'README.md' && !/^reference\/api\/(?!README)/.test(page));
  expect(pages.length).toBeGreaterThan(15);
  expect(pages.filter((page) => !index.includes(`](${page})`))).toEqual([]);
});

/** As GitHub names headings. */
function anchors(markdown: string): Set<string> {
  const headings = [...markdown.matchAll(/^#+\s+(.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-'),
  );
  const seen = new Map<string, number>();
  const numbered = headings.map((heading) => {
    const before = seen.get(heading) ?? 0;
    seen.set(heading, before + 1);
    return before === 0 ? heading : `${heading}-${before}`;
  });
  const written = [...markdown.matchAll(/<a id="([^"]+)"><\/a>/g)].map(([, id = '']) => id);
  return new Set([...numbered, ...written]);
}
