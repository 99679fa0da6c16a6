// The reference says what the code says: the table of limits and the table of misuse errors.

import { expect, test } from 'vitest';
import { files, text } from './tree.js';

const KiB = 1024;
const MiB = 1024 * KiB;

test('docs/reference/limits.md has every limit, with its default and meaning', () => {
  const source = text('framework/src/limits.ts');
  const limits = [...source.matchAll(/^ {2}(\w+): \{ default: ([^,]+), least:/gm)].map(
    ([, name = '', value = '']) => ({ name, value: evaluate(value) }),
  );
  expect(limits.length).toBeGreaterThan(20);
  const meanings = new Map(
    [...source.matchAll(/\/\*\* ([^\n]*?) Default [^\n]*\*\/\n {2}readonly (\w+): number;/g)].map(
      ([, meaning = '', name = '']) => [name, meaning],
    ),
  );
  const document = text('docs/reference/limits.md');
  const rows = [...document.matchAll(/^\| `\w+` .*$/gm)].map(([row]) => row);
  expect(rows).toEqual(
    limits.map(
      ({ name, value }) => `| \`${name}\` | ${shown(name, value)} | ${meanings.get(name)} |`,
    ),
  );
});

const groups = [
  ['keepalive', 'keepaliveTable', 4],
  ['http2', 'http2Table', 15],
] as const;

/** Name and default of each row of a table in the source. */
function tableOf(source: string, table: string): { name: string; value: number }[] {
  const body = source.split(`export const ${table} = {\n`)[1]!.split('\n} as const')[0]!;
  return [...body.matchAll(/^ {2}(\w+): \{ default: ([^,]+), least:/gm)].map(
    ([, name = '', value = '']) => ({ name, value: evaluate(value) }),
  );
}

test.each(groups)('docs/reference/limits.md has every option of %s', (group, table, count) => {
  const source = text('framework/src/server/protocol-limits.ts');
  const meanings = new Map(
    [...source.matchAll(/\/\*\* ([^\n]*?) Default [^\n]*\*\/\n {2}readonly (\w+)\?: number;/g)].map(
      ([, meaning = '', name = '']) => [name, meaning],
    ),
  );
  const options = tableOf(source, table);
  expect(options.length).toBe(count);
  const rows = [
    ...text('docs/reference/limits.md').matchAll(
      new RegExp(`^\\| \`${group}\\.\\w+\` \\| .*$`, 'gm'),
    ),
  ].map(([row]) => row);
  expect(rows.filter((row) => !row.includes('permitWithoutCalls'))).toEqual(
    options.map(
      ({ name, value }) =>
        `| \`${group}.${name}\` | ${shown(name, value)} | ${meanings.get(name)} |`,
    ),
  );
});

test('the defaults of the group http2 are those of the crate', () => {
  const crate = new Map(
    [
      ...text('native/crates/http2/src/limits.rs').matchAll(
        /^ {4}(\w+): (?:u32|usize) = ([\d_]+);/gm,
      ),
    ].map(([, name = '', value = '']) => [
      name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
      evaluate(value),
    ]),
  );
  for (const { name, value } of tableOf(
    text('framework/src/server/protocol-limits.ts'),
    'http2Table',
  )) {
    expect([name, value]).toEqual([name, crate.get(name)]);
  }
});

test('docs/reference/errors.md has every misuse error, with its remedy', () => {
  const errors = [
    ...text('framework/src/errors.ts').matchAll(
      /^ {2}(MILLRACE_\w+): \{\s+message: (['"])(.*?)\2,\s+remedy:\s+(['"])(.*?)\4,\s+\},$/gm,
    ),
  ].map(([, code, , message, , remedy]) => `| \`${code}\` | ${message} | ${remedy} |`);
  expect(errors.length).toBe(text('framework/src/errors.ts').match(/^ {2}MILLRACE_/gm)?.length);
  const [, misuse = ''] = text('docs/reference/errors.md').split(/^## /m);
  const rows = [...misuse.matchAll(/^\| `MILLRACE_.*$/gm)].map(([row]) => row);
  expect(rows).toEqual(errors);
});

test('docs/reference/limits.md has every limit of topics', () => {
  const source = text('framework/src/topics/options.ts');
  const meanings = new Map(
    [...source.matchAll(/\/\*\* ([^\n]*?) Default [^\n]*\*\/\n {2}readonly (\w+)\?: number;/g)].map(
      ([, meaning = '', name = '']) => [name, meaning],
    ),
  );
  const limits = tableOf(source, 'topicsLimitTable');
  expect(limits.length).toBe(4);
  const document = text('docs/reference/limits.md');
  const rows = [...document.matchAll(/^\| `topics\.limits\.\w+` \| .*$/gm)].map(([row]) => row);
  expect(rows).toEqual(
    limits.map(
      ({ name, value }) =>
        `| \`topics.limits.${name}\` | ${value < MiB ? value.toLocaleString('en') : shown(name, value)} | ${meanings.get(name)} |`,
    ),
  );
});

test('docs/reference/errors.md has every code that native code and the codec know', () => {
  // Of a misuse that no option leads to.
  const internal = ['MILLRACE_ROLE', 'MILLRACE_ENGINE', 'MILLRACE_CALL', 'MILLRACE_GENERATE'];
  const sources = [
    ...files(/\.rs$/, 'native/crates').filter((file) => file.includes('/src/')),
    ...files(/\.ts$/, 'framework/src').filter((file) => !/\.test/.test(file)),
    'native/load.js',
  ];
  const codes = sources.flatMap((file) =>
    [...text(file).matchAll(/(?<!env\[|env::var\()['"](MILLRACE_[A-Z_]*[A-Z])['"]/g)].map(
      ([, code = '']) => code,
    ),
  );
  const document = text('docs/reference/errors.md');
  const missing = [...new Set(codes)].filter(
    (code) => !document.includes(`\`${code}\``) && !internal.includes(code),
  );
  // Variables of the environment.
  expect(missing.filter((code) => !/^MILLRACE_(DRIVER|PACKAGES|TEST_\w+)$/.test(code))).toEqual([]);
});

test('docs/reference/statistics.md has every name, with its meaning', () => {
  const page = new Map(
    [...text('docs/reference/statistics.md').matchAll(/^\| `([\w.]+)` \| (.*) \|$/gm)].map(
      ([, name = '', meaning = '']) => [name, meaning],
    ),
  );
  const source = text('native/crates/engine/src/stats.rs');
  const totals = [
    ...macro(source, 'totals').matchAll(/((?: {4}\/\/\/[^\n]*\n)+) {4}\w+ => "(\w+)";/g),
  ];
  expect(totals.length).toBeGreaterThan(30);
  for (const [, docs = '', name = ''] of totals)
    expect([name, page.get(name)]).toEqual([name, plain(docs)]);
  const counters = [
    ...macro(text('native/crates/http2/src/limits.rs'), 'counters').matchAll(
      /((?: {4}\/\/\/[^\n]*\n)+) {4}(\w+);/g,
    ),
  ];
  expect(counters.length).toBeGreaterThan(10);
  for (const [, docs = '', name = ''] of counters) {
    const meaning = plain(docs).replace(/`\w+`/g, camel);
    expect([name, page.get(`http2.${camel(name)}`)]).toEqual([name, meaning]);
  }
  const others = [
    ...source.matchAll(/field\("(\w+)"/g),
    ...source.matchAll(/\("(\w+)", counters\./g),
    ...text('framework/src/server/dispatch.ts').matchAll(/^ {2}readonly (handler\w+): number;/gm),
  ].map(([, name]) => name ?? '');
  expect(others.length).toBeGreaterThan(30);
  expect(others.filter((name) => !page.has(name))).toEqual([]);
});

test('docs/security/attacks.md names counters that there are', () => {
  const known = text('docs/reference/statistics.md');
  const rows = [...text('docs/security/attacks.md').matchAll(/^\|(.*)\|$/gm)]
    .map(([, row = '']) => row.split('|'))
    .filter((cells) => cells.length === 5);
  const counters = rows.flatMap((cells) =>
    [...(cells[3] ?? '').matchAll(/`(\w+)`/g)].map(([, name]) => name ?? ''),
  );
  expect(counters.length).toBeGreaterThan(25);
  expect(counters.filter((name) => !known.includes(`${name}\``))).toEqual([]);
});

/** The body of a macro's use. */
function macro(source: string, name: string): string {
  return source.split(`\n${name}! {\n`)[1]?.split('\n}')[0] ?? '';
}

/** A Rust docstring as a line. */
function plain(docs: string): string {
  return docs
    .trim()
    .split('\n')
    .map((line) => line.trim().slice('/// '.length))
    .join(' ');
}

function camel(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** The names in the first column of the tables of a document. */
function firstColumn(document: string): string {
  const rows = text(document).match(/^\| `.*$/gm) ?? [];
  return rows.map((row) => row.split('|')[1] ?? '').join();
}

test.each([
  ['docs/guides/handlers.md', 'server/options', /const known = \[([^\]]*)\]/, /'(\w+)'/g],
  ['docs/guides/client.md', 'client/options', /const known = \[([^\]]*)\]/, /'(\w+)'/g],
  ['docs/guides/client.md', 'client/call-options', /const known = \[([^\]]*)\]/, /'(\w+)'/g],
  [
    'docs/reference/cli.md',
    'cli/config/define-config',
    /interface MillraceConfig \{([^}]*)\}/,
    /readonly (\w+)\?:/g,
  ],
])('%s has every option of %s', (document, source, list, name) => {
  const [, options = ''] = list.exec(text(`framework/src/${source}.ts`)) ?? [];
  const names = [...options.matchAll(name)].map(([, option]) => option ?? '');
  expect(names.length).toBeGreaterThan(5);
  const documented = firstColumn(document);
  expect(names.filter((option) => !documented.includes(`\`${option}\``))).toEqual([]);
});

/** A literal, or a product with KiB or MiB. */
function evaluate(value: string): number {
  return value
    .split('*')
    .map((factor) => factor.trim())
    .map((factor) => ({ KiB, MiB })[factor] ?? Number(factor.replaceAll('_', '')))
    .reduce((product, factor) => product * factor, 1);
}

function shown(name: string, value: number): string {
  if (/Ms$/.test(name)) {
    if (value === 0) return 'never';
    if (value % 3_600_000 === 0) return `${value / 3_600_000} h`;
    return value % 60_000 === 0 && value > 60_000 ? `${value / 60_000} min` : `${value / 1000} s`;
  }
  if (!/Bytes/.test(name)) return value.toLocaleString('en');
  return value % MiB === 0 ? `${value / MiB} MiB` : `${value / KiB} KiB`;
}
