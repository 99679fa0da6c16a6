// The reference says what the code says: the table of limits and the table of misuse errors.

import { expect, test } from 'vitest';
import { text } from './tree.js';

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
  const rows = [...text('docs/reference/errors.md').matchAll(/^\| `MILLRACE_.*$/gm)].map(
    ([row]) => row,
  );
  expect(rows).toEqual(errors);
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
