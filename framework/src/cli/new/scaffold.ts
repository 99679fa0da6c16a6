import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CliError } from '../cli-error.js';
import { generate } from '../generate/generate.js';
import { write } from '../generate/write.js';
import { writeRemedy } from '../write-remedy.js';
import { manifestFiles } from './manifest.js';
import { habitsOf, type PackageManager } from './package-manager.js';
import type { Packages } from './packages.js';

/** The templates, each with what it shows. */
export const TEMPLATES = {
  unary: 'one question, one answer, with a schema',
  streams: 'all four kinds of methods, with backpressure',
  pubsub: 'publish and subscribe, with slow subscribers and replay',
  blank: 'health and reflection only; add services with millrace add',
} as const;

export type Template = keyof typeof TEMPLATES;

/** What a new project is to be. */
export interface Project {
  readonly name: string;
  readonly template: Template;
  readonly manager: PackageManager;
  readonly packages: Packages;
}

/** A call that a template answers: method, and request as JSON. */
const CALLS: Readonly<Record<Template, readonly [method: string, request: string]>> = {
  unary: ['greeter.v1.Greeter/Greet', '{"name":"Ada"}'],
  streams: ['measurements.v1.Measurements/Simulate', '{"sensor":"roof","count":3}'],
  pubsub: ['prices.v1.Prices/Set', '{"symbol":"metals.gold","value":2}'],
  blank: ['grpc.health.v1.Health/Check', '{}'],
};

/**
 * Makes the project below the working directory: the whole of it, or nothing.
 *
 * @throws CliError if the folder is there already, or cannot be written
 */
export function scaffold(project: Project): void {
  const { name } = project;
  if (existsSync(name)) throw folderExists(name);
  let staging: string | undefined;
  try {
    staging = mkdtempSync(`.${name}-`);
    // A folder inside, which gets the permissions that are usual here.
    const root = join(staging, name);
    mkdirSync(root);
    fill(root, project);
    renameSync(root, name);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CliError(`${name} cannot be written: ${reason}`, {
      remedy: `Nothing was made. ${writeRemedy(error)}`,
      cause: error,
    });
  } finally {
    if (staging !== undefined) rmSync(staging, { recursive: true, force: true });
  }
}

export function folderExists(name: string): CliError {
  return new CliError(`${name} exists already`, {
    remedy: 'Choose another name, or another folder to run this in. Nothing was changed.',
  });
}

/** The line that calls the new service while it runs. */
export function exampleCall({ template, manager }: Pick<Project, 'template' | 'manager'>): string {
  const [method, request] = CALLS[template];
  return `${habitsOf[manager].exec} millrace call localhost:50051 ${method} '${request}'`;
}

function fill(root: string, project: Project): void {
  const { name, template, manager, packages } = project;
  const files = new Map([
    ...textsOf('base'),
    ...textsOf(template),
    ...manifestFiles(name, project),
  ]);
  const habits = habitsOf[manager];
  const words: Readonly<Record<string, string>> = {
    name,
    run: habits.run,
    exec: habits.exec,
    install: `${manager} install`,
    call: exampleCall(project),
    dockerInstall: habits.dockerInstall,
    dockerPrune: habits.dockerPrune,
  };
  for (const [path, text] of files) {
    const target = join(root, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(
      target,
      text.replace(/\{\{(\w+)\}\}/g, (_, word: string) => words[word] ?? ''),
    );
  }
  for (const { file, vendored } of packages.tarballs?.values() ?? []) {
    mkdirSync(join(root, dirname(vendored)), { recursive: true });
    copyFileSync(file, join(root, vendored));
  }
  const protos = join(root, 'protos');
  if (existsSync(protos)) write(generate({ proto: [protos] }), join(root, 'src/gen'));
}

/**
 * The files of a template by path, with slashes. A name that begins with an underscore stands for one
 * with a dot, of which npm would make something else in a package.
 */
function textsOf(template: string): Map<string, string> {
  const folder = fileURLToPath(new URL(`../../../templates/${template}/`, import.meta.url));
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true, encoding: 'utf8' });
  return new Map(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => {
        const file = join(entry.parentPath, entry.name);
        const path = relative(folder, file).split(sep).join('/');
        return [path.replace(/(^|\/)_/g, '$1.'), readFileSync(file, 'utf8')];
      }),
  );
}
