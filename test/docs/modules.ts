// TypeScript blocks as modules of a project, which is compiled as users compile theirs.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Block, blocks } from './blocks.js';

/** A module: a block and those that continue it. */
export interface Module {
  /** Without an ending: `docs-guides-client-12`. */
  readonly name: string;
  readonly document: string;
  /** Of its first block. */
  readonly line: number;
  readonly runs: boolean;
  readonly source: string;
  /** The line of the document for each line of the source, from 1; 0 for what was put around it. */
  readonly lines: readonly number[];
}

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');

/** Where the project is: within the repository, so that its packages are found. */
export const project = join(here, '../dist/docs');

/** Names that blocks use and do not declare, by the module that exports them. */
const settings = new Map(
  readdirSync(join(here, 'setting')).map((file) => [
    file.replace(/\.ts$/, ''),
    exportsOf(readFileSync(join(here, 'setting', file), 'utf8')),
  ]),
);

export const modules = modulesOf(
  blocks.filter(({ language, marks }) => language === 'ts' && !marks.includes('foreign')),
);

/** Compiles all modules. The errors, each with document and line, by document. */
export function compile(): Map<string, string[]> {
  const sources = join(project, 'src');
  rmSync(project, { recursive: true, force: true });
  cpSync(join(here, 'setting'), sources, { recursive: true });
  for (const { name, source } of modules) writeFileSync(join(sources, `${name}.ts`), source);
  generate(join(sources, 'gen'));
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(configuration, undefined, 2));
  const manifest = createRequire(import.meta.url).resolve('typescript/package.json');
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [join(dirname(manifest), 'bin/tsc'), '-p', project, '--pretty', 'false'],
    { cwd: project, encoding: 'utf8' },
  );
  const errors = new Map<string, string[]>();
  for (const line of (stdout + stderr).split('\n')) {
    const found = /^src\/(.+)\.ts\((\d+),\d+\): error (.*)$/.exec(line);
    if (found === null) {
      // The further lines of a message are indented.
      if (/\S/.test(line) && !line.startsWith(' ')) add(errors, '', line);
      continue;
    }
    const [, name = '', row = '', message = ''] = found;
    const module = modules.find((one) => one.name === name);
    const place = module?.lines[Number(row)];
    add(
      errors,
      module?.document ?? '',
      `${module === undefined ? name : module.document}:${place || `the ${row}th line around line ${module?.line}`}: ${message}`,
    );
  }
  return errors;
}

function add(to: Map<string, string[]>, key: string, value: string): void {
  to.set(key, [...(to.get(key) ?? []), value]);
}

/** The strict settings of a new project. */
const configuration = {
  extends: '../../../framework/templates/base/tsconfig.json',
  compilerOptions: {
    rootDir: 'src',
    outDir: 'out',
    noEmit: false,
    sourceMap: true,
    // An example may show a name without using it.
    noUnusedLocals: false,
    noUnusedParameters: false,
  },
  include: ['src'],
};

/** The contracts that the blocks import: those of the repository, and those that the documents show. */
function generate(out: string): void {
  const protos = join(project, 'protos');
  const existing = [
    'protos',
    'framework/templates/unary/protos',
    'framework/templates/streams/protos',
    'test/docs/protos',
  ];
  for (const folder of existing) cpSync(join(root, folder), protos, { recursive: true });
  for (const { language, marks, code } of blocks) {
    const [path] = marks;
    if (language !== 'proto' || path === undefined) continue;
    mkdirSync(dirname(join(protos, path)), { recursive: true });
    writeFileSync(join(protos, path), code);
  }
  const { status, stderr } = spawnSync(
    process.execPath,
    [join(root, 'framework/dist/cli/main.js'), 'generate', '--proto', protos, '--out', out],
    { cwd: project, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
}

function modulesOf(given: readonly Block[]): Module[] {
  const groups: Block[][] = [];
  for (const block of given) {
    const last = groups.at(-1);
    if (block.marks.includes('continue') && last?.[0]?.document === block.document)
      last.push(block);
    else groups.push([block]);
  }
  return groups.map(moduleOf);
}

function moduleOf(group: readonly Block[]): Module {
  const [first] = group as [Block];
  const { document, line, marks } = first;
  const body = group.flatMap((block) =>
    block.code
      .trimEnd()
      .split('\n')
      .map((code, index) => ({ code, line: block.line + index })),
  );
  const around = wrapping(marks);
  const own = body.map(({ code }) => code).join('\n');
  const slug = document.replace(/\.md$/, '').replace(/[^\w]+/g, '-');
  const before = [...importsFor(slug, `${around.before}\n${own}`), ...around.before.split('\n')];
  const after = around.after.split('\n');
  return {
    name: `${slug}-${line}`,
    document,
    line,
    runs: marks.includes('run'),
    source: `${[...before, own, ...after].join('\n')}\nexport {};\n`,
    lines: [0, ...before.map(() => 0), ...body.map((one) => one.line)],
  };
}

/** What stands around a block that shows the handlers of a service only. */
function wrapping(marks: readonly string[]): { before: string; after: string } {
  if (!marks.includes('handlers')) return { before: '', after: '' };
  const name = marks.find((mark) => /^[A-Z]/.test(mark)) ?? 'Echo';
  const rest = `${name.toLowerCase()}Handlers`;
  return {
    before: `import { service as made } from 'millrace';\nmade(${name}, {\n...${rest},`,
    after: '});',
  };
}

/** Imports of what the code uses and does not declare: from the setting of its page, or the common one. */
function importsFor(slug: string, code: string): string[] {
  const found = new Set<string>();
  return [slug, 'common'].flatMap((setting) => {
    const names = [...(settings.get(setting) ?? [])].filter(
      ([name]) => uses(code, name) && !declares(code, name) && !found.has(name),
    );
    for (const [name] of names) found.add(name);
    const list = names.map(([name, kind]) => `${kind}${name}`).join(', ');
    return list === '' ? [] : [`import { ${list} } from './${setting}.js';`];
  });
}

function uses(code: string, name: string): boolean {
  // Behind a dot it is a property, behind three it is not.
  return new RegExp(`(?<![\\w'"]|(?<!\\.\\.)\\.)${name}(?![\\w'"])`).test(
    code.replace(/\/\/.*$/gm, ''),
  );
}

/** Whether the code has the name at its top. */
function declares(code: string, name: string): boolean {
  return (
    new RegExp(
      `^(export )?(await using|const|let|async function|function|class|interface|type) ${name}\\b`,
      'm',
    ).test(code) ||
    new RegExp(`^(export )?const [{[][^=]*\\b${name}\\b[^=]*[}\\]] =`, 'm').test(code) ||
    new RegExp(`^import [^;]*\\b${name}\\b[^;]*from`, 'm').test(code)
  );
}

/** The names that a module exports, with `type ` for those that are types only. */
function exportsOf(source: string): Map<string, string> {
  const names = new Map<string, string>();
  for (const [, kind = '', name = ''] of source.matchAll(
    /^export (?:declare )?(const|let|function|async function|class|interface|type) (\w+)/gm,
  )) {
    names.set(name, /^(interface|type)$/.test(kind) ? 'type ' : '');
  }
  for (const [, kind = '', list = ''] of source.matchAll(/^export (type )?\{([^}]*)\}/gm)) {
    for (const part of list.split(',')) {
      const [, type = '', name = ''] = /^\s*(type )?(?:\w+ as )?(\w+)\s*$/.exec(part) ?? [];
      if (name !== '') names.set(name, kind || type);
    }
  }
  return names;
}
