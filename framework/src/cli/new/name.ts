import { type CliError, usageError } from '../cli-error.js';
import { TAKEN_NAMES } from './manifest.js';

/** As npm names packages, with a letter first and without what other tools stumble over. */
const LEGAL = /^[a-z][a-z0-9]*(?:[-_.][a-z0-9]+)*$/;
const LENGTH_MAX = 100;

/** Why a project cannot have this name, which is that of its folder and of its package. */
export function checkName(name: string): CliError | undefined {
  if (TAKEN_NAMES.includes(name) || name === 'node_modules') {
    return usageError(
      `${name} is the name of a package that the project needs`,
      `Choose another one, as in ${name.replace('_', '-')}-service.`,
    );
  }
  if (LEGAL.test(name) && name.length <= LENGTH_MAX) return undefined;
  const near = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+|-+$/g, '')
    .slice(0, LENGTH_MAX);
  return usageError(
    `${name === '' ? 'the empty name' : name} is no name for a project`,
    `Write small letters, digits and hyphens, as in ${near === '' ? 'my-service' : near}.`,
  );
}
