// Commands that the documents name exist, with the options they are given; and docs/reference/cli.md has
// every command and every option.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { binary } from '../support/cli.js';
import { files, root, text } from '../tidy/tree.js';
import { commands, type Named, split } from './commands.js';

interface Described {
  readonly path: readonly string[];
  readonly options: readonly {
    readonly flag: string;
    readonly takesValue: boolean;
    readonly choices: readonly string[];
  }[];
  readonly nested: readonly string[];
}

const cli = (file: string) =>
  import(new URL(`../../framework/dist/cli/${file}`, import.meta.url).href);
const { loadCommands } = await cli('command-table.js');
const { describeCommands } = await cli('completion/description.js');
const { manifestFiles } = await cli('new/manifest.js');
const described: readonly Described[] = describeCommands(await loadCommands());

/** The scripts of a project that `millrace new` makes. */
const scaffolded = scriptsOf(
  manifestFiles('name', {
    manager: 'npm',
    template: 'streams',
    packages: { version: '0.1.0', tarballs: undefined },
  }).get('package.json'),
);
const own = scriptsOf(text('package.json'));

function scriptsOf(manifest: string): Readonly<Record<string, string>> {
  return JSON.parse(manifest).scripts ?? {};
}

/** Programs of others, of which nothing is checked. */
const FOREIGN = new Set(
  'apt-get cargo cd docker export gdb git grpc-health-probe grpcurl kill ls mkdir nats-server printf sed strace ulimit'.split(
    ' ',
  ),
);

test.each([
  ['the scaffold', scaffolded],
  ['this repository', own],
])('the scripts of %s are known', (_, scripts) => {
  expect(Object.keys(scripts)).toContain('test');
});

test('every command that a document names exists', () => {
  expect(commands.length).toBeGreaterThan(80);
  expect(commands.flatMap(problem)).toEqual([]);
});

/** What is wrong with a command; nothing if it is right. */
function problem(named: Named): string[] {
  const { place, words } = named;
  const wrong = problemOf(words, named);
  return wrong === undefined ? [] : [`${place}: ${words.join(' ')}: ${wrong}`];
}

function problemOf(words: readonly string[], named: Named): string | undefined {
  const [program = '', ...rest] = words;
  switch (program) {
    case 'npx':
    case '{{exec}}':
      return problemOf(rest[0] === '--no' ? rest.slice(1) : rest, named);
    case 'millrace':
      return millraceProblem(rest);
    case 'create-millrace':
      return millraceProblem(['new', ...rest]);
    case 'npm':
    case 'pnpm':
      return npmProblem(rest, named);
    case '{{run}}':
      return scriptProblem(rest, scaffolded);
    case '{{install}}':
    case '{{call}}':
      return undefined;
    case 'node':
      return nodeProblem(rest);
    case 'vitest':
      return missingFile(rest.filter((word) => word.endsWith('.ts')));
    case 'biome':
    case 'tsc':
      return undefined;
    default:
      if (FOREIGN.has(program)) return undefined;
      return existsSync(join(root, program)) ? undefined : 'no program that is known here';
  }
}

/** A file that is in none of the folders where a command may run. */
function missingFile(names: readonly string[]): string | undefined {
  const folders = ['', 'framework', 'test'];
  const missing = names.find(
    (name) => !folders.some((folder) => existsSync(join(root, folder, name))),
  );
  return missing === undefined ? undefined : `there is no ${missing}`;
}

function millraceProblem(words: readonly string[]): string | undefined {
  const name = words.filter((word) => !word.startsWith('-'));
  if (name[0] === 'help') return millraceProblem(name.slice(1));
  const path: string[] = [];
  let command = described[0]!;
  for (const word of name) {
    if (!command.nested.includes(word)) break;
    path.push(word);
    command = described.find((one) => one.path.join(' ') === path.join(' '))!;
  }
  if (path.length === 0 && name.length > 0) return `there is no command ${name[0]}`;
  if (command.nested.length > 0 && path.length > 0 && name.length > path.length) {
    return `${path.join(' ')} has no ${name[path.length]}`;
  }
  for (const [index, word] of words.entries()) {
    if (!word.startsWith('--')) continue;
    const [flag, given] = word.split('=');
    const option = command.options.find((one) => one.flag === flag);
    if (option === undefined) return `${path.join(' ')} has no option ${flag}`;
    const value = given ?? words[index + 1];
    if (option.choices.length > 0 && value !== undefined && !option.choices.includes(value)) {
      return `${flag} has to be one of ${option.choices.join(', ')}`;
    }
  }
  return undefined;
}

/** What npm does itself, and needs no script for. */
const NPM = new Set(['ci', 'install', 'prune', 'publish', 'pack', 'update', 'whoami']);

function npmProblem(words: readonly string[], { document }: Named): string | undefined {
  const [verb = '', ...rest] = words;
  if (NPM.has(verb)) return undefined;
  if (verb === 'create') {
    const [name, ...options] = rest.filter((word) => word !== '--');
    return name === 'millrace' ? millraceProblem(['new', ...options]) : 'nothing that we make';
  }
  const script = verb === 'run' ? rest : [verb, ...rest];
  const at = script.findIndex((word) => word === '-w' || word === '--workspace');
  if (at >= 0 && !(script.indexOf('--') >= 0 && script.indexOf('--') < at)) {
    const folder = script[at + 1] ?? '';
    if (!existsSync(join(root, folder, 'package.json'))) return `there is no workspace ${folder}`;
    return scriptProblem(script, scriptsOf(text(`${folder}/package.json`)));
  }
  // Guides are about projects of users, and name ours where those come from a clone.
  const scripts = /^(docs|framework|create-millrace)\/|^CHANGELOG/.test(document)
    ? [scaffolded, own]
    : [own];
  const problems = scripts.map((one) => scriptProblem(script, one));
  return problems.includes(undefined) ? undefined : problems.at(-1);
}

function scriptProblem(
  words: readonly string[],
  scripts: Readonly<Record<string, string>>,
): string | undefined {
  const [name = ''] = words;
  const line = scripts[name];
  if (line === undefined) return `there is no script ${name}`;
  const dashes = words.indexOf('--');
  if (dashes < 0 || scripts !== own) return undefined;
  return flagsProblem(words.slice(dashes + 1), line);
}

/** Options that a script's program, or what that starts, does not name. */
function flagsProblem(words: readonly string[], line: string): string | undefined {
  const [, program = ''] = /(?:^|&& )node (\S+)/.exec(line) ?? [];
  const sources = files(/\.(mjs|ts)$/, program.startsWith('test/dist/') ? 'test/interop' : 'test')
    .concat(files(/\.mjs$/, 'scripts'))
    .filter((file) => program === '' || related(file, program));
  const code = sources.map(text).join('\n');
  const unknown = words.filter(
    (word) => word.startsWith('--') && !new RegExp(`['"\`\\s-]${word.slice(2)}\\b`).test(code),
  );
  return unknown.length > 0 ? `${program} has no ${unknown.join(', ')}` : undefined;
}

/** Of one program: scripts/bench.mjs and test/bench, test/dist/interop and test/interop. */
function related(file: string, program: string): boolean {
  const name = program.replace(/^(scripts|test\/dist|test)\//, '').replace(/[./].*$/, '');
  return file === program || file.startsWith(`test/${name}/`) || file === `scripts/${name}.mjs`;
}

function nodeProblem(words: readonly string[]): string | undefined {
  const file = words.find((word) => !word.startsWith('-'));
  if (file === undefined) return 'no program';
  // What a build makes.
  if (/(^|\/)dist\//.test(file)) return undefined;
  if (!existsSync(join(root, file))) return `there is no ${file}`;
  return flagsProblem(words.slice(words.indexOf(file) + 1), `node ${file}`);
}

const reference = text('docs/reference/cli.md');

/** The part of the reference that is about a command. */
function sectionOf(name: string): string {
  return reference.split(/^## /m).find((section) => section.startsWith(`${name}\n`)) ?? '';
}

test.each(described.filter(({ path }) => path.length === 1).map(({ path }) => path[0]!))(
  'docs/reference/cli.md has every option of %s, and no other',
  (name) => {
    const section = sectionOf(name);
    expect(section).not.toBe('');
    // What it shares with another command is described there.
    const [, shared] = /other options[^.]*are those\s+of `(\w+)`/.exec(section) ?? [];
    const options = described
      .filter(({ path }) => path[0] === name)
      .flatMap((command) => command.options.map(({ flag }) => flag))
      .filter((flag) => shared === undefined || !sectionOf(shared).includes(flag));
    const documented = [...section.matchAll(/(?<![\w-])--[a-z][\w-]*/g)].map(([flag]) => flag);
    const common = ['--help', '--verbose'];
    expect(options.filter((flag) => !documented.includes(flag) && !common.includes(flag))).toEqual(
      [],
    );
    expect([...new Set(documented)].filter((flag) => !options.includes(flag))).toEqual([]);
  },
);

test.each(described.filter(({ path, nested }) => path.length > 0 && nested.length === 0))(
  'the examples in the help of $path are commands',
  ({ path }) => {
    const { stdout } = spawnSync(process.execPath, [binary, ...path, '--help'], {
      encoding: 'utf8',
    });
    const examples = [...stdout.matchAll(/^ {2}\$ (.*)$/gm)].flatMap(([, line = '']) =>
      split(line),
    );
    expect(examples).not.toEqual([]);
    const place = `millrace help ${path.join(' ')}`;
    expect(examples.flatMap((words) => problem({ place, document: 'docs/', words }))).toEqual([]);
  },
);
