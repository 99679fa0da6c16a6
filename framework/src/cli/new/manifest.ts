import { habitsOf, type PackageManager } from './package-manager.js';
import { NATIVE, ownDependencies, type Packages } from './packages.js';
import type { Project, Template } from './scaffold.js';

/** What a project depends on beside Millrace; Millrace itself is tested with the same. */
const DEPENDENCIES = { zod: '^4.6.7' };

const DEV_DEPENDENCIES = {
  '@biomejs/biome': '~2.5.0',
  '@types/node': '^20.19.0',
  // Builds for millrace dev, and loads millrace.config.ts. The same that vitest brings, so that it is there once.
  rolldown: '~1.2.19',
  typescript: '^7.0.2',
  vitest: '^4.1.12',
};

/** The names that a project cannot have, since it depends on packages of that name. */
export const TAKEN_NAMES: readonly string[] = [
  'millrace',
  ...Object.keys({ ...DEPENDENCIES, ...DEV_DEPENDENCIES }),
];

/** The files that say what is installed, by path. */
export function manifestFiles(
  name: string,
  { manager, template, packages }: Pick<Project, 'manager' | 'template' | 'packages'>,
): Map<string, string> {
  const vendored = vendoredPackages(packages);
  const own = ownDependencies(template);
  const ours = own.map((dependency) => [dependency, vendored?.[dependency] ?? packages.version]);
  const native = manager === 'npm' ? nativePackages(vendored) : { core: [], platforms: [] };
  const manifest = {
    name,
    version: '0.0.0',
    private: true,
    type: 'module',
    engines: { node: '>=20.19' },
    scripts: scripts(manager, template),
    dependencies: { ...Object.fromEntries([...ours, ...native.core]), ...DEPENDENCIES },
    ...(native.platforms.length > 0
      ? { optionalDependencies: Object.fromEntries(native.platforms) }
      : {}),
    devDependencies: DEV_DEPENDENCIES,
    ...(manager === 'npm' ? npmSettings(vendored) : {}),
    ...(manager === 'yarn' && vendored !== undefined ? { resolutions: vendored } : {}),
  };
  const files = new Map([['package.json', `${JSON.stringify(manifest, undefined, 2)}\n`]]);
  if (manager === 'pnpm') files.set('pnpm-workspace.yaml', pnpmSettings(vendored));
  if (manager === 'yarn') {
    files.set('.yarnrc.yml', 'nodeLinker: node-modules\n');
    // Says that it is a project of its own, also inside another one; installing fills it.
    files.set('yarn.lock', '');
  }
  return files;
}

function scripts(manager: PackageManager, template: Template): Record<string, string> {
  const { run } = habitsOf[manager];
  // Without a contract there is nothing to generate.
  const generated = template === 'blank' ? '' : 'millrace generate --check && ';
  return {
    dev: 'millrace dev',
    build: 'tsc -p tsconfig.build.json',
    start: 'node --enable-source-maps dist/main.js',
    test: 'vitest run',
    generate: 'millrace generate',
    format: 'biome check --write .',
    lint: 'biome check --error-on-warnings .',
    types: 'tsc',
    check: `${generated}${run} types && ${run} lint && ${run} test`,
  };
}

/** By name, what package managers take for a version; undefined where a registry has them. */
function vendoredPackages({ tarballs }: Packages): Record<string, string> | undefined {
  if (tarballs === undefined) return undefined;
  const entries = [...tarballs].map(([name, { vendored }]) => [name, `file:./${vendored}`]);
  return Object.fromEntries(entries);
}

/**
 * What it depends on only through Millrace. Within a workspace npm takes no overrides, but leaves alone
 * what is installed already because the project itself depends on it.
 */
function nativePackages(vendored: Record<string, string> = {}) {
  const all = Object.entries(vendored).filter(([name]) => name.startsWith(NATIVE));
  return {
    core: all.filter(([name]) => name === NATIVE),
    platforms: all.filter(([name]) => name !== NATIVE),
  };
}

/** What it depends on itself, npm wants to be overridden by reference. */
function npmSettings(vendored: Record<string, string> | undefined): object {
  // A message at install, and nothing that is needed: no package runs a script.
  const settings = { allowScripts: { protobufjs: false } };
  if (vendored === undefined) return settings;
  const overrides = Object.keys(vendored).map((name) => [name, `$${name}`]);
  return { overrides: Object.fromEntries(overrides), ...settings };
}

function pnpmSettings(vendored: Record<string, string> = {}): string {
  const overrides = Object.entries(vendored).map(([name, path]) => `  '${name}': ${path}\n`);
  return [
    '# A message at install, and nothing that is needed: no package runs a script.\n',
    'allowBuilds:\n  protobufjs: false\n',
    'ignoredBuiltDependencies:\n  - protobufjs\n',
    ...(overrides.length > 0 ? ['overrides:\n', ...overrides] : []),
  ].join('');
}
