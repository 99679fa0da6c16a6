import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { CliError } from '../cli-error.js';

/** Where a project gets Millrace from. */
export interface Packages {
  readonly version: string;
  /** Tarballs by the name of their package; undefined where the registry has them. */
  readonly tarballs: ReadonlyMap<string, Tarball> | undefined;
}

/** A packed package. */
export interface Tarball {
  readonly file: string;
  /** Its path in the project. */
  readonly vendored: string;
}

/** What a project depends on itself. */
export const OWN_DEPENDENCIES = ['@millrace/health', '@millrace/reflection', 'millrace'] as const;

const NATIVE = '@millrace/native';

/**
 * The tarballs in a folder, as `npm run pack` leaves them: our packages and the native core's for as
 * many platforms as there are.
 *
 * @throws CliError that names what is missing
 */
export function findTarballs(folder: string, version: string): ReadonlyMap<string, Tarball> {
  const names = new Map(filesIn(folder).map((file) => [packageOf(file, version), file]));
  const missing = [...OWN_DEPENDENCIES, NATIVE].filter((name) => !names.has(name));
  const found = new Map<string, Tarball>();
  for (const [name, file] of names) {
    const ours = name === NATIVE || (OWN_DEPENDENCIES as readonly string[]).includes(name ?? '');
    if (name === undefined || !(ours || name.startsWith(`${NATIVE}-`))) continue;
    found.set(name, { file: join(folder, file), vendored: `vendor/${file}` });
  }
  if (missing.length === 0 && found.size === OWN_DEPENDENCIES.length + 1) {
    missing.push(`${NATIVE}-<platform>`);
  }
  if (missing.length > 0) {
    throw new CliError(
      `${folder} holds no package of version ${version} of ${missing.join(', ')}`,
      { remedy: `Pack them in a clone of Millrace: npm run pack -- --out ${folder}` },
    );
  }
  return found;
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    throw new CliError(`the folder of packages ${folder} cannot be read`, {
      remedy: 'Name a folder of tarballs with --packages or MILLRACE_PACKAGES, or leave both out.',
      cause: error,
    });
  }
}

/** `millrace-health-0.1.0.tgz` is `@millrace/health`: npm makes a hyphen of the slash. */
function packageOf(file: string, version: string): string | undefined {
  const end = `-${version}.tgz`;
  if (!file.endsWith(end)) return undefined;
  return file.slice(0, -end.length).replace(/^millrace-/, '@millrace/');
}
