// `millrace new`, run as users run it. What it makes is installed, tested and run from tarballs by
// scaffold.test.ts.

import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { millrace } from '../support/cli.js';
import { linkPackages, project } from '../support/project.js';

const { version } = manifest(new URL('../../framework/', import.meta.url).pathname);

interface Manifest {
  readonly version: string;
  readonly dependencies: Record<string, string>;
  readonly devDependencies: Record<string, string>;
  readonly [name: string]: unknown;
}

function manifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
}

/** What packing leaves, but for the contents. */
function packages(cwd: string, ...without: string[]): string {
  const folder = mkdtempSync(join(cwd, 'packages-'));
  const services = ['millrace-health', 'millrace-pubsub', 'millrace-reflection'];
  const native = ['millrace-native', 'millrace-native-linux-x64-gnu'];
  for (const name of ['millrace', ...services, ...native, 'create-millrace']) {
    if (!without.includes(name)) writeFileSync(join(folder, `${name}-${version}.tgz`), name);
  }
  return folder;
}

test('help, with examples', async () => {
  const { code, stdout } = await millrace(['new', '--help']);
  expect(code).toBe(0);
  expect(stdout).toContain('Usage: millrace new [options] [name]');
  for (const option of ['template', 'package-manager', 'packages', 'no-install', 'yes']) {
    expect(stdout).toContain(`--${option}`);
  }
  expect(stdout).toMatch(/^Examples:\n {2}# .*\n {2}\$ millrace new /m);
});

test('a project: its files, the exact version, and modules that are up to date', async () => {
  const cwd = project({});
  const { code, stdout, stderr } = await millrace(['new', 'my-app', '--no-install'], { cwd });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain('Next:\n  cd my-app\n  npm install\n  npm run dev\n');
  const root = join(cwd, 'my-app');
  const files = readdirSync(root, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
  expect(files.sort()).toEqual([
    '.dockerignore',
    '.env.example',
    '.gitignore',
    'Dockerfile',
    'README.md',
    'biome.json',
    'millrace.config.ts',
    'package.json',
    'protos/greeter/v1/greeter.proto',
    'src/gen/greeter/v1/greeter.ts',
    'src/main.ts',
    'src/services.ts',
    'src/services/greeter.ts',
    'src/settings.ts',
    'test/greeter.test.ts',
    'tsconfig.build.json',
    'tsconfig.json',
    'vitest.config.ts',
  ]);
  for (const file of files)
    expect(readFileSync(join(root, file), 'utf8')).not.toMatch(/\{\{\w*\}\}/);
  // Nothing is left beside it.
  expect(readdirSync(cwd).sort()).toEqual(['my-app', 'package.json']);
  const { name, dependencies, devDependencies } = manifest(root);
  expect(name).toBe('my-app');
  for (const own of ['millrace', '@millrace/health', '@millrace/reflection']) {
    expect(dependencies[own]).toBe(version);
  }
  // Millrace itself is tested with what its projects get.
  const ours = manifest(new URL('../../', import.meta.url).pathname).devDependencies;
  for (const tool of ['typescript', 'vitest', '@types/node']) {
    expect(devDependencies[tool]).toBe(ours[tool]);
  }
  linkPackages(root, 'millrace', 'rolldown');
  expect(await millrace(['generate', '--check'], { cwd: root })).toMatchObject({ code: 0 });
});

describe('--packages', () => {
  const file = (name: string) => `file:./vendor/${name}-${version}.tgz`;
  const native = {
    '@millrace/native': file('millrace-native'),
    '@millrace/native-linux-x64-gnu': file('millrace-native-linux-x64-gnu'),
  };
  const make = async (manager: string, template = 'unary') => {
    const cwd = project({});
    const choices = ['--package-manager', manager, '--template', template];
    const words = ['new', 'my-app', '--no-install', ...choices];
    const environment = { MILLRACE_PACKAGES: packages(cwd) };
    const result = await millrace(words, { cwd, environment });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    return join(cwd, 'my-app');
  };

  test('npm: tarballs beside the project, and what depends on them is overridden', async () => {
    const root = await make('npm');
    expect(readdirSync(join(root, 'vendor')).sort()).toEqual(
      ['', '-health', '-native', '-native-linux-x64-gnu', '-reflection']
        .map((rest) => `millrace${rest}-${version}.tgz`)
        .sort(),
    );
    const { dependencies, optionalDependencies, overrides } = manifest(root);
    // In a workspace overrides do not count: what is needed is there itself.
    expect({ ...dependencies, ...(optionalDependencies as object) }).toMatchObject({
      millrace: file('millrace'),
      '@millrace/health': file('millrace-health'),
      ...native,
    });
    expect(overrides).toEqual(
      Object.fromEntries(
        ['millrace', '@millrace/health', '@millrace/reflection', ...Object.keys(native)].map(
          (name) => [name, `$${name}`],
        ),
      ),
    );
  });

  test('an empty MILLRACE_PACKAGES is none', async () => {
    const cwd = project({});
    const environment = { MILLRACE_PACKAGES: '' };
    const { code } = await millrace(['new', 'my-app', '--no-install'], { cwd, environment });
    expect(code).toBe(0);
    expect(manifest(join(cwd, 'my-app')).dependencies['millrace']).toBe(version);
  });

  test('only what the template needs', async () => {
    const root = await make('npm', 'pubsub');
    const packed = file('millrace-pubsub');
    const { dependencies, overrides } = manifest(root);
    expect(dependencies['@millrace/pubsub']).toBe(packed);
    expect(overrides).toMatchObject({ '@millrace/pubsub': '$@millrace/pubsub' });
    expect(readdirSync(join(root, 'vendor'))).toContain(`millrace-pubsub-${version}.tgz`);
  });

  test('yarn: resolutions, and folders of modules', async () => {
    const root = await make('yarn');
    expect(manifest(root)['resolutions']).toMatchObject(native);
    expect(readFileSync(join(root, '.yarnrc.yml'), 'utf8')).toBe('nodeLinker: node-modules\n');
    // Without it yarn takes the project for a part of one around it.
    expect(readFileSync(join(root, 'yarn.lock'), 'utf8')).toBe('');
  });

  test('pnpm: overrides of the workspace', async () => {
    const root = await make('pnpm');
    const settings = readFileSync(join(root, 'pnpm-workspace.yaml'), 'utf8');
    for (const [name, path] of Object.entries(native)) {
      expect(settings).toContain(`\n  '${name}': ${path}\n`);
    }
  });
});

describe('failures', () => {
  const failed = async (words: string[], code: number, cwd = project({})): Promise<string> => {
    const before = readdirSync(cwd);
    const result = await millrace(['new', ...words], { cwd });
    expect(result).toMatchObject({ code, stdout: '' });
    expect(result.stderr).not.toContain('    at ');
    expect(readdirSync(cwd)).toEqual(before);
    return result.stderr;
  };

  test('a folder that is there', async () => {
    const cwd = project({});
    mkdirSync(join(cwd, 'my-app'));
    expect(await failed(['my-app'], 1, cwd)).toBe(
      'my-app exists already\nChoose another name, or another folder to run this in. Nothing was changed.\n',
    );
  });

  test.each([
    ['My App', 'as in my-app.'],
    ['../up', 'as in up.'],
    ['1st', 'as in st.'],
    ['', 'as in my-service.'],
  ])('an illegal name: %j', async (name, remedy) => {
    const stderr = await failed([name], 2);
    expect(stderr).toContain('is no name for a project\nWrite small letters, digits and hyphens, ');
    expect(stderr).toContain(remedy);
  });

  test('the name of a package that the project needs', async () => {
    expect(await failed(['vitest'], 2)).toContain('vitest is the name of a package');
  });

  test('no name, and nobody to ask', async () => {
    expect(await failed([], 2)).toBe(
      'the project has no name\nGive it one: millrace new my-service\n',
    );
  });

  test('a template that there is not', async () => {
    expect(await failed(['my-app', '--template', 'chat'], 2)).toContain(
      'unary, streams, pubsub, blank',
    );
  });

  test('a folder of packages that lacks one', async () => {
    const cwd = project({});
    const folder = packages(cwd, 'millrace-health');
    expect(await failed(['my-app', '--packages', folder], 1, cwd)).toContain(
      `holds no package of version ${version} of @millrace/health\nPack them in a clone of Millrace: npm run pack -- --out `,
    );
    const withoutPubsub = ['--packages', packages(cwd, 'millrace-pubsub')];
    expect(await failed(['my-app', '--template', 'pubsub', ...withoutPubsub], 1, cwd)).toContain(
      'of @millrace/pubsub\n',
    );
    expect(await failed(['my-app', '--packages', 'nowhere'], 1, cwd)).toContain('cannot be read');
  });
});

describe('an installation that fails leaves a project that is whole', () => {
  const failing = async (environment: Record<string, string>): Promise<string> => {
    const cwd = project({});
    const { code, stderr } = await millrace(['new', 'my-app'], { cwd, environment });
    expect(code).toBe(1);
    expect(stderr).not.toContain('    at ');
    expect(existsSync(join(cwd, 'my-app/src/gen/greeter/v1/greeter.ts'))).toBe(true);
    return stderr;
  };

  test('no network', async () => {
    const stderr = await failing({
      npm_config_registry: 'http://127.0.0.1:1/',
      npm_config_fetch_retries: '0',
      npm_config_cache: project({}),
    });
    expect(stderr).toMatch(
      /^my-app is complete, but for its dependencies: npm cannot reach its registry \(ECONNREFUSED\)\nWhen there is a network: cd my-app && npm install\n$/,
    );
  });

  test('no network, as a package manager says it that is no JavaScript', async () => {
    const said = '├─▶ error sending request\n├─▶ client error (Connect)\n├─▶ tcp connect error\n';
    const PATH = project({ npm: '#!/bin/sh\ncat "$SAID"\nexit 1\n', said });
    chmodSync(join(PATH, 'npm'), 0o755);
    const stderr = await failing({
      PATH: `${PATH}${delimiter}${process.env['PATH']}`,
      SAID: join(PATH, 'said'),
    });
    expect(stderr).toContain('npm cannot reach its registry (tcp connect error)\nWhen there is');
  });

  test.each([
    [
      'npm error code E404\nnpm error 404 Not Found - GET https://r/@millrace%2fhealth\nnpm error 404',
      '',
    ],
    [
      'npm error code ETARGET\nnpm error notarget No matching version found for @millrace/health@9.9.9.',
      ' 9.9.9',
    ],
    ['ERR_PNPM_FETCH_404  GET https://r/@millrace%2Fhealth: Not Found - 404', ''],
    [
      '➤ YN0035: │ @millrace/health@npm:9.9.9: Package not found\n➤ YN0035: │   Response Code: 404',
      ' 9.9.9',
    ],
  ])('a registry that does not have it: %j', async (said, version) => {
    const PATH = project({ npm: '#!/bin/sh\ncat "$SAID"\nexit 1\n', said });
    chmodSync(join(PATH, 'npm'), 0o755);
    const stderr = await failing({
      PATH: `${PATH}${delimiter}${process.env['PATH']}`,
      SAID: join(PATH, 'said'),
    });
    expect(stderr).toBe(
      `my-app is complete, but for its dependencies: the registry of npm has no @millrace/health${version}\nMake it again from tarballs: in a clone of Millrace npm run pack -- --out DIR, then here rm -r my-app and millrace new my-app --packages DIR.\n`,
    );
  });

  test('what development needs is installed, whatever NODE_ENV says here', async () => {
    const PATH = project({ npm: '#!/bin/sh\necho "NODE_ENV is $NODE_ENV"\nexit 7\n' });
    chmodSync(join(PATH, 'npm'), 0o755);
    expect(await failing({ PATH, NODE_ENV: 'production' })).toContain(
      'npm install ended with code 7\n  NODE_ENV is development\nWhen that is mended: ',
    );
  });

  test('yarn writes its lock file in continuous integration, too', async () => {
    const script = '#!/bin/sh\necho "immutable is $YARN_ENABLE_IMMUTABLE_INSTALLS"\nexit 7\n';
    const PATH = project({ yarn: script });
    chmodSync(join(PATH, 'yarn'), 0o755);
    const environment = { PATH, CI: '1' };
    const words = ['new', 'my-app', '--package-manager', 'yarn'];
    const { code, stderr } = await millrace(words, { cwd: project({}), environment });
    expect(code).toBe(1);
    expect(stderr).toContain('\n  immutable is false\n');
  });

  test('no package manager', async () => {
    expect(await failing({ PATH: project({}) })).toContain('npm was not found\nInstall npm');
  });
});
