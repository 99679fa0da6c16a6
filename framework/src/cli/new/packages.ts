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

/** Our packages that a project of a template depends on itself. */
export function ownDependencies(template: string): readonly string[] {
  const pubsub = template === 'pubsub' ? ['@millrace/pubsub'] : [];
  return ['@millrace/health', ...pubsub, '@millrace/reflection', 'millrace'];
}

/** The native core; `@millrace/native-<platform>` is what it is on a platform. */
export const NATIVE = '@millrace/native';

/**
 * The tarballs in a folder, as `npm run pack` leaves them: those of our packages that the template
 * needs, and the native core's for as many platforms as there are.
 *
 * @throws CliError that names what is missing
 */
export function findTarballs(
  folder: string,
  { version, template }: { readonly version: string; readonly template: string },
): ReadonlyMap<string, Tarball> {
  const names = new Map(filesIn(folder).map((file) => [packageOf(file, version), file]));
  const needed = [...ownDependencies(template), NATIVE];
  const missing = needed.filter((name) => !names.has(name));
  const found = new Map<string, Tarball>();
  for (const [name, file] of names) {
    if (name === undefined || !(needed.includes(name) || name.startsWith(`${NATIVE}-`))) continue;
    found.set(name, { file: join(folder, file), vendored: `vendor/${file}` });
  }
  if (missing.length === 0 && found.size === needed.length) {
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
