// Which folder may import which. The rules are those of ARCHITECTURE.md.

import { posix } from 'node:path';
import { expect, test } from 'vitest';
import { files, text } from './tree.js';

interface Import {
  from: string;
  to: string;
  /** Vanishes when compiled. */
  typeOnly: boolean;
}

const SOURCES = 'framework/src/';

const imports = files(/\.(ts|mts|mjs)$/).flatMap(importsOf);

function importsOf(from: string): Import[] {
  const source = text(from).replace(/^\s*(?:\/\/|\*|\/\*).*$/gm, '');
  return [
    ...source.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^;'"]*?\s+from\s+)?'([^']+)'/gm),
    ...source.matchAll(/\bimport\((\s*)'([^']+)'\)/g),
  ].map(([, type, specifier = '']) => ({
    from,
    to: specifier.startsWith('.')
      ? posix.join(posix.dirname(from), specifier).replace(/\.js$/, '.ts')
      : specifier,
    typeOnly: type?.startsWith('type') === true,
  }));
}

/** The folder of the framework in which a file lies; its files at the top are named themselves. */
function room(file: string): string | undefined {
  if (!file.startsWith(SOURCES)) return undefined;
  return file.slice(SOURCES.length).split('/')[0];
}

/** Tests, and what only tests import. */
const isTest = (file: string) => /\.(test|test-d|test-support)\.ts$|\/fake-[^/]+\.ts$/.test(file);
const show = ({ from, to }: Import) => `${from} → ${to}`;

const inFramework = imports.filter(({ from }) => room(from) !== undefined && !isTest(from));

test('there is something to look at', () => {
  expect(inFramework.length).toBeGreaterThan(50);
});

test('only the bridge imports the native package', () => {
  const wrong = imports.filter(
    ({ from, to }) =>
      to.startsWith('@millrace/native') &&
      room(from) !== 'bridge' &&
      // The package's own tests, and the tests of the whole, which ask it which drivers it has.
      !from.startsWith('native/') &&
      !from.startsWith('test/'),
  );
  expect(wrong.map(show)).toEqual([]);
});

const uppermost = ['server', 'client', 'topics', 'testing', 'cli', 'index.ts', 'internal.ts'];

test.each(['bridge', 'server', 'client'])('only the uppermost rooms import %s', (target) => {
  const wrong = inFramework.filter(
    ({ from, to }) =>
      room(to) === target && room(from) !== target && !uppermost.includes(room(from) ?? ''),
  );
  expect(wrong.map(show)).toEqual([]);
});

test('the codec imports nothing but the codec', () => {
  const wrong = inFramework.filter(
    ({ from, to }) => room(from) === 'codec' && room(to) !== undefined && room(to) !== 'codec',
  );
  expect(wrong.map(show)).toEqual([]);
});

test('no import leads in a circle', () => {
  const edges = new Map<string, string[]>();
  for (const { from, to, typeOnly } of inFramework) {
    if (!typeOnly && room(to) !== undefined) edges.set(from, [...(edges.get(from) ?? []), to]);
  }
  const circles: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: string[]) => {
    if (path.includes(file)) {
      circles.push([...path.slice(path.indexOf(file)), file].join(' → '));
      return;
    }
    if (done.has(file)) return;
    for (const next of edges.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of edges.keys()) visit(file, []);
  expect(circles).toEqual([]);
});

test('every file of the framework is reached from an entry point', () => {
  const entries = [
    'index.ts',
    'internal.ts',
    'codec/index.ts',
    'cli/config/define-config.ts',
    'cli/main.ts',
    'testing/index.ts',
    'reflection.ts',
  ];
  // Run by hand when the generator changes; generated.test.ts compares what it makes.
  entries.push('cli/generate/well-known.ts');
  const reached = new Set<string>();
  const queue = entries.map((entry) => SOURCES + entry);
  // A thread is started by the address of its module, not by an import.
  const started = files(/\.ts$/, SOURCES).flatMap((file) =>
    [...text(file).matchAll(/new URL\('(\.[^']+)\.js', import\.meta\.url\)/g)].map((match) => ({
      from: file,
      to: posix.join(posix.dirname(file), `${match[1]}.ts`),
      typeOnly: false,
    })),
  );
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (reached.has(file)) continue;
    reached.add(file);
    for (const edge of [...inFramework, ...started]) if (edge.from === file) queue.push(edge.to);
  }
  const unreached = files(/\.ts$/, SOURCES).filter((file) => !isTest(file) && !reached.has(file));
  expect(unreached).toEqual([]);
});

test('outside the framework nobody reaches past its entry points', () => {
  const wrong = imports.filter(
    ({ from, to }) =>
      !from.startsWith('framework/') &&
      (to.startsWith('framework/') ||
        /^millrace\/(?!codec$|config$|descriptors$|internal$|reflection$|testing$)/.test(to)),
  );
  expect(wrong.map(show)).toEqual([]);
});

test('examples and services use the public surface only', () => {
  const wrong = imports.filter(
    ({ from, to }) => /^(examples|services)\//.test(from) && to === 'millrace/internal',
  );
  expect(wrong.map(show)).toEqual([]);
});

test('the framework knows no service, and services do not know each other', () => {
  const wrong = imports.filter(
    ({ from, to }) =>
      /^(framework|services)\//.test(from) &&
      // The projects that `millrace new` makes are not the framework.
      !from.startsWith('framework/templates/') &&
      /^@millrace\/(?!native(?:\/load)?$)|^services\/.*/.test(to),
  );
  const between = wrong.filter(({ from, to }) => from.split('/')[1] !== to.split('/')[1]);
  expect(between.map(show)).toEqual([]);
});
