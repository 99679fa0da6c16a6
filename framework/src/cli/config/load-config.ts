import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { z } from 'zod';
import { CliError } from '../cli-error.js';
import { importModule } from './import-module.js';

/** A configuration in which nothing is missing; paths are relative to the working directory. */
export interface LoadedConfig {
  /** The file it was read from; absent where there is none, and everything is a default. */
  readonly file: string | undefined;
  readonly protos: readonly string[];
  readonly out: string;
  readonly importPaths: readonly string[];
  readonly runtime: string;
  readonly entry: string;
  readonly host: string | undefined;
  readonly port: number | undefined;
}

/** The names under which it is looked for, the first first. */
export const CONFIG_FILES: readonly string[] = [
  'millrace.config.ts',
  'millrace.config.mts',
  'millrace.config.js',
  'millrace.config.mjs',
];

const path = z.string().min(1);
const paths = z.union([path, z.array(path)], { error: 'expected a path or an array of paths' });

const schema = z.strictObject(
  {
    protos: paths.optional(),
    out: path.optional(),
    importPaths: paths.optional(),
    runtime: z.string().min(1).optional(),
    entry: path.optional(),
    host: z.string().min(1).optional(),
    port: z.int().min(0).max(65535).optional(),
  },
  { error: (issue) => (issue.code === 'invalid_type' ? 'expected an object' : undefined) },
);

/**
 * Reads the configuration of the project in the working directory.
 *
 * @param file where it is, if it is elsewhere; then it has to be there
 * @throws CliError that names the file, and each wrong value by its path
 */
export async function loadConfig(file?: string): Promise<LoadedConfig> {
  const found = file ?? CONFIG_FILES.find((name) => existsSync(name));
  if (found === undefined) return complete(undefined, {});
  if (!existsSync(found)) {
    throw new CliError(`${found} does not exist`, {
      remedy: 'Give the path of a configuration with --config, or leave it out.',
    });
  }
  const exported = (await importModule(resolve(found)))['default'];
  if (exported === undefined) {
    throw new CliError(`${found} has no default export`, {
      remedy: 'Write export default defineConfig({ … }), with defineConfig of millrace/config.',
    });
  }
  const { data, error } = schema.safeParse(exported);
  if (error) {
    const wrong = error.issues.map((issue) => `${found}: ${sentence(issue)}`);
    throw new CliError(wrong.join('\n'), {
      remedy: `The keys are ${Object.keys(schema.shape).join(', ')}.`,
    });
  }
  return complete(found, data);
}

/** `protos[1]: expected string, received number` */
function sentence(issue: z.core.$ZodIssue): string {
  const where = issue.path.reduce<string>(
    (text, key) =>
      typeof key === 'number'
        ? `${text}[${key}]`
        : text === ''
          ? String(key)
          : `${text}.${String(key)}`,
    '',
  );
  const message = issue.message.replace(/^Invalid input: /, '');
  const text = message.replace(/^[A-Z](?=[a-z])/, (first) => first.toLowerCase());
  return where === '' ? text : `${where}: ${text}`;
}

function complete(file: string | undefined, given: z.infer<typeof schema>): LoadedConfig {
  const folder = file === undefined ? '' : dirname(file);
  const here = (one: string): string => (isAbsolute(one) ? one : join(folder, one));
  const list = (all: string | string[]): string[] => [all].flat().map(here);
  return {
    file,
    protos: list(given.protos ?? 'protos'),
    out: here(given.out ?? 'src/gen'),
    importPaths: list(given.importPaths ?? []),
    runtime: given.runtime ?? 'millrace/codec',
    entry: here(given.entry ?? 'src/main.ts'),
    host: given.host,
    port: given.port,
  };
}
