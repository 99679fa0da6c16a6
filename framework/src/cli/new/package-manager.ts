import { spawn } from 'node:child_process';
import { CliError } from '../cli-error.js';

/** The package managers that a new project can be made for. */
export const PACKAGE_MANAGERS = ['npm', 'pnpm', 'yarn'] as const;

export type PackageManager = (typeof PACKAGE_MANAGERS)[number];

/** What one is told, and how its projects are used. */
interface Habits {
  /** Runs a script of the project: `npm run`. */
  readonly run: string;
  /** Runs a program of an installed package: `npx`. */
  readonly exec: string;
  /** In a Dockerfile: everything, as it was locked. */
  readonly dockerInstall: string;
  /** In a Dockerfile: takes away what was needed to build. */
  readonly dockerPrune: string;
}

export const habitsOf: Readonly<Record<PackageManager, Habits>> = {
  npm: {
    run: 'npm run',
    exec: 'npx',
    dockerInstall: 'npm ci',
    dockerPrune: 'npm prune --omit=dev',
  },
  pnpm: {
    run: 'pnpm run',
    exec: 'pnpm exec',
    dockerInstall: 'npm install --global pnpm && pnpm install --frozen-lockfile',
    dockerPrune: 'CI=true pnpm prune --prod',
  },
  yarn: {
    run: 'yarn run',
    exec: 'yarn run',
    dockerInstall: 'npm install --global --force @yarnpkg/cli-dist && yarn install --immutable',
    dockerPrune: 'yarn workspaces focus --production',
  },
};

/** The one that started this process, as `npm create` does; npm, if none did. */
export function callingPackageManager(agent = process.env['npm_config_user_agent']) {
  return PACKAGE_MANAGERS.find((name) => agent?.startsWith(`${name}/`)) ?? 'npm';
}

/** With codes of Node.js, or as a package manager says it that is written in Rust. */
const NETWORK =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|dns error|tcp connect error)\b/;

/**
 * Installs the dependencies of a project.
 *
 * @param folder relative to the working directory
 * @throws CliError with the last that the package manager said; the project is as it was
 */
export async function install(manager: PackageManager, folder: string): Promise<void> {
  const { code, output } = await run(manager, ['install'], folder);
  if (code === 0) return;
  const again = `cd ${folder} && ${manager} install`;
  if (code === undefined) {
    throw new CliError(
      `${folder} is complete, but for its dependencies: ${manager} was not found`,
      {
        remedy: `Install ${manager} (npm install --global ${manager}), then: ${again}`,
      },
    );
  }
  const network = NETWORK.exec(output)?.[0];
  if (network !== undefined) {
    throw new CliError(
      `${folder} is complete, but for its dependencies: ${manager} cannot reach its registry (${network})`,
      { remedy: `When there is a network: ${again}` },
    );
  }
  const unpublished = unknownPackage(output);
  if (unpublished !== undefined) {
    throw new CliError(
      `${folder} is complete, but for its dependencies: the registry of ${manager} has no ${unpublished}`,
      {
        remedy: `Make it again from tarballs: in a clone of Millrace npm run pack -- --out DIR, then here rm -r ${folder} and millrace new ${folder} --packages DIR.`,
      },
    );
  }
  const lines = output.trimEnd().split('\n').slice(-12);
  throw new CliError(
    `${folder} is complete, but for its dependencies: ${manager} install ended with code ${code}\n${lines.map((line) => `  ${line}`).join('\n')}`,
    { remedy: `When that is mended: ${again}` },
  );
}

const NOT_FOUND = /\b404\b|\bE404\b|\bETARGET\b|_FETCH_404\b|NO_MATCHING_VERSION|No candidates/;
const OUR_PACKAGE = /(?<![\w.-])(@millrace\/[a-z0-9-]+|millrace)(?:@(?:npm:)?(\d[\w.-]*\w))?/g;

/** The package of ours that a registry does not have, with the version where that is said. */
function unknownPackage(output: string): string | undefined {
  if (!NOT_FOUND.test(output)) return undefined;
  const named = [...output.replace(/%2f/gi, '/').matchAll(OUR_PACKAGE)];
  const [, name, version] = named.find((match) => match[2] !== undefined) ?? named[0] ?? [];
  return version === undefined ? name : `${name} ${version}`;
}

/** Undefined for the code if there is no such program. */
function run(
  command: string,
  words: readonly string[],
  cwd: string,
): Promise<{ code: number | null | undefined; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, words, {
      cwd,
      // A new project is there to be developed: what it needs for that is installed, too.
      // In continuous integration yarn would not write the lock file that is not there yet.
      env: {
        ...process.env,
        NODE_ENV: 'development',
        YARN_ENABLE_IMMUTABLE_INSTALLS: 'false',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // On Windows these are batch files.
      shell: process.platform === 'win32',
    });
    let output = '';
    const collect = (text: string) => {
      output = (output + text).slice(-100_000);
    };
    child.stdout.setEncoding('utf8').on('data', collect);
    child.stderr.setEncoding('utf8').on('data', collect);
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') resolve({ code: undefined, output });
      else reject(error);
    });
    child.on('close', (code) => resolve({ code, output }));
  });
}
