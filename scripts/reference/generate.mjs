// `npm run reference`: the API reference, docs/reference/api, from the docstrings of what the packages
// export. What is exported without a docstring is an error.
//
//   npm run reference -- --check    writes nothing, and fails when the reference is not up to date

import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Application, ReflectionKind } from 'typedoc';
import { Failure, main, root, say } from '../steps.mjs';

/** The sources of what can be imported, by the name that typedoc gives them: what users write. */
const modules = new Map([
  ['framework/src', 'millrace'],
  ['framework/src/codec', 'millrace/codec'],
  ['framework/src/cli/config/define-config', 'millrace/config'],
  ['framework/src/testing', 'millrace/testing'],
  ['services/health/src', '@millrace/health'],
  ['services/pubsub/src', '@millrace/pubsub'],
  ['services/reflection/src', '@millrace/reflection'],
]);

const folder = join(root, 'docs/reference/api');

/**
 * Reads the sources and writes the pages.
 *
 * @param {string} out
 */
async function generate(out) {
  const application = await Application.bootstrapWithPlugins({
    plugin: ['typedoc-plugin-markdown'],
    entryPoints: [...modules.keys()].map((path) => {
      const file = join(root, `${path}.ts`);
      return existsSync(file) ? file : join(root, path, 'index.ts');
    }),
    tsconfig: join(root, 'scripts/reference/tsconfig.json'),
    basePath: root,
    name: 'API reference',
    readme: 'none',
    out,
    // Lines and revisions would change with every commit.
    disableSources: true,
    disableGit: true,
    excludeExternals: true,
    excludeInternal: true,
    excludePrivate: true,
    sort: ['kind', 'alphabetical'],
    logLevel: 'Warn',
    ...pages,
  });
  const project = await application.convert();
  if (project === undefined) throw new Failure('typedoc cannot read the sources; see above.');
  const missing = undocumented(project);
  if (missing.length > 0) {
    throw new Failure(`These are exported without a docstring:\n  ${missing.join('\n  ')}`);
  }
  for (const module of project.children ?? []) {
    module.name = modules.get(module.name) ?? module.name;
  }
  await application.generateOutputs(project);
  if (application.logger.hasErrors() || application.logger.hasWarnings()) {
    throw new Failure('The docstrings have errors; see above.');
  }
}

/** Options of typedoc-plugin-markdown: a page for each module. */
const pages = {
  router: 'module',
  entryFileName: 'README',
  hidePageHeader: true,
  hideBreadcrumbs: true,
  expandObjects: true,
  parametersFormat: 'table',
  interfacePropertiesFormat: 'table',
};

/**
 * The names of what has no docstring. Messages are documented in their .proto files.
 *
 * @param {import('typedoc').ProjectReflection} project
 */
function undocumented(project) {
  const generated = /(^|[\\/])gen[\\/]|\.gen\.ts$/;
  return project
    .getReflectionsByKind(
      ReflectionKind.Class |
        ReflectionKind.Interface |
        ReflectionKind.TypeAlias |
        ReflectionKind.FunctionOrMethod |
        ReflectionKind.Variable |
        ReflectionKind.Property |
        ReflectionKind.Accessor,
    )
    .filter((reflection) => {
      const parts = [
        reflection,
        ...(reflection.isDeclaration()
          ? [...(reflection.signatures ?? []), reflection.getSignature, reflection.setSignature]
          : []),
      ];
      const from = project.getSymbolIdFromReflection(reflection);
      return (
        !parts.some((part) => part?.hasComment() === true) &&
        // The parts of a type without a name are described by what has it.
        reflection.parent?.kindOf(ReflectionKind.TypeLiteral) === false &&
        // Of ours, and not of a base that belongs to the language.
        from !== undefined &&
        /^(millrace$|@millrace\/)/.test(from.packageName) &&
        !generated.test(from.packagePath)
      );
    })
    .map((reflection) => reflection.getFriendlyFullName());
}

/**
 * Mends links: typedoc takes `Connection.stats` and `ConnectionStats` for one anchor, and numbers the
 * second, where there is one heading of that name only.
 *
 * @param {string} out
 */
function mendLinks(out) {
  const pages = read(out);
  const headings = new Map([...pages].map(([path, page]) => [path, headingsOf(page)]));
  for (const [path, page] of pages) {
    const mended = page.replace(
      /\(([^()#\s]*)#(\w+)-\d+\)/g,
      (link, /** @type {string} */ to, /** @type {string} */ anchor) => {
        const target = to === '' ? path : join(dirname(path), to);
        return headings.get(target)?.get(anchor) === 1 ? `(${to}#${anchor})` : link;
      },
    );
    writeFileSync(join(out, path), mended);
  }
}

/**
 * How often a page has each anchor.
 *
 * @param {string} page
 */
function headingsOf(page) {
  /** @type {Map<string, number>} */
  const headings = new Map();
  for (const [, heading = ''] of page.matchAll(/^#+ (.*)$/gm)) {
    const anchor = heading.toLowerCase().replace(/\W/g, '');
    headings.set(anchor, (headings.get(anchor) ?? 0) + 1);
  }
  return headings;
}

/**
 * What the pages say, by their paths.
 *
 * @param {string} of
 * @returns {Map<string, string>}
 */
function read(of) {
  if (!existsSync(of)) return new Map();
  const paths = readdirSync(of, { recursive: true, encoding: 'utf8' });
  return new Map(
    paths
      .filter((path) => statSync(join(of, path)).isFile())
      .map((path) => [path, readFileSync(join(of, path), 'utf8')]),
  );
}

await main(async () => {
  const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });
  const out = mkdtempSync(join(tmpdir(), 'millrace-reference-'));
  try {
    await generate(out);
    mendLinks(out);
    const [made, found] = [read(out), read(folder)];
    const names = [...new Set([...made.keys(), ...found.keys()])].sort();
    const stale = names.filter((name) => made.get(name) !== found.get(name));
    if (values.check && stale.length > 0) {
      throw new Failure(
        `The API reference is not what the docstrings say (${stale.join(', ')}): run \`npm run reference\` and commit what it writes.`,
      );
    }
    if (!values.check) {
      rmSync(folder, { recursive: true, force: true });
      cpSync(out, folder, { recursive: true });
    }
    say(`docs/reference/api: ${made.size} pages, ${stale.length} of them changed`);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});
