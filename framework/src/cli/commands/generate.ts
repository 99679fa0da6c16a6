import { Command, Option } from 'commander';
import { CliError } from '../cli-error.js';
import { type LoadedConfig, loadConfig } from '../config/load-config.js';
import { explained } from '../generate/explained.js';
import { generate, outdated } from '../generate/generate.js';
import { GenerateError } from '../generate/generate-error.js';
import { watchedPaths } from '../generate/sources.js';
import { watchProtos } from '../generate/watch.js';
import { write } from '../generate/write.js';
import { examples } from '../help.js';
import { toJson } from '../proto/diagnostic.js';
import { untilSignal } from '../signals.js';

interface Options {
  readonly proto?: string[];
  readonly out?: string;
  readonly importPath?: string[];
  readonly runtime?: string;
  readonly config?: string;
  readonly check: boolean;
  readonly watch: boolean;
  readonly json: boolean;
}

/** `millrace generate`: .proto files to TypeScript modules. */
export function generateCommand(): Command {
  return new Command('generate')
    .description('turn .proto files into TypeScript modules: messages, codecs, services')
    .option('--proto <path...>', '.proto files, or folders that hold some (default: "protos")')
    .option('--out <folder>', 'where the modules go (default: "src/gen")')
    .option('--import-path <folder...>', 'further folders in which imports are looked for')
    .option(
      '--runtime <specifier>',
      'what the modules import the codecs from (default: "millrace/codec")',
    )
    .option('--config <file>', 'the configuration (default: millrace.config.ts, if there is one)')
    .option('--check', 'write nothing; fail if a module is not up to date', false)
    .addOption(
      new Option('--watch', 'go on, and generate again when a file changes')
        .default(false)
        .conflicts('check'),
    )
    .option('--json', 'print what was done, or what is wrong, as JSON', false)
    .addHelpText(
      'after',
      examples(
        ['generate', 'every .proto file below protos/, to src/gen/'],
        ['generate --proto api/shop.proto --import-path third_party', 'one file and its imports'],
        ['generate --watch', 'while you edit them'],
        ['generate --check', 'in continuous integration: is src/gen/ up to date?'],
      ),
    )
    .action(run);
}

async function run(options: Options): Promise<void> {
  if (options.watch) return watch(options);
  const config = withOptions(await loadConfig(options.config), options);
  const { exitCode, text, error } = generateOnce(config, options);
  process.stdout.write(text);
  if (error) throw error;
  process.exitCode = exitCode;
}

/** The configuration, where the command line says nothing else. */
function withOptions(
  config: LoadedConfig,
  { proto, out, importPath, runtime }: Options,
): LoadedConfig {
  return {
    ...config,
    protos: proto ?? config.protos,
    out: out ?? config.out,
    importPaths: importPath ?? config.importPaths,
    runtime: runtime ?? config.runtime,
  };
}

/** What came of a run: what standard output is to say, or the error that standard error is to. */
interface Outcome {
  readonly exitCode: number;
  readonly text: string;
  readonly error?: CliError;
  /** Differs if the modules, or what is wrong, do. */
  readonly signature: string;
}

function generateOnce(config: LoadedConfig, { check, watch, json }: Options): Outcome {
  const { protos, out, importPaths, runtime } = config;
  // While watching, each run is a line.
  const print = (value: object): string =>
    `${JSON.stringify(value, undefined, watch ? undefined : 2)}\n`;
  try {
    const files = generate({ proto: protos, importPaths, runtime });
    const stale = outdated(files, out);
    const names = stale.map(({ path }) => path);
    const unchanged = files.length - stale.length;
    if (!check) writeTo(stale, out);
    const signature = JSON.stringify([out, files]);
    if (json) {
      const text = print({ out, [check ? 'outdated' : 'written']: names, upToDate: unchanged });
      return { exitCode: check && stale.length > 0 ? 1 : 0, text, signature };
    }
    if (check && stale.length > 0) {
      const reason = `${out} is not up to date (${names.join(', ')}); run millrace generate`;
      return { exitCode: 1, text: '', error: new CliError(reason), signature };
    }
    const written = check ? '' : `${stale.length} written, `;
    return { exitCode: 0, text: `${out}: ${written}${unchanged} up to date\n`, signature };
  } catch (error) {
    if (!(error instanceof GenerateError)) throw error;
    const { diagnostics, message: signature } = error;
    if (json) return { exitCode: 1, text: print({ errors: diagnostics.map(toJson) }), signature };
    return { exitCode: 1, text: '', error: explained(error), signature };
  }
}

function writeTo(files: Parameters<typeof write>[0], out: string): void {
  try {
    write(files, out);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CliError(`${out} cannot be written: ${reason}`, {
      remedy: 'Nothing was changed. Make room for it, or name another folder with --out.',
      cause: error,
    });
  }
}

/** Generates until the process is told to end; what is wrong is said, and mended by a change. */
async function watch(options: Options): Promise<void> {
  const ended = untilSignal();
  let config: LoadedConfig | undefined;
  let last: string | undefined;
  const complain = ({ message, remedy }: CliError): void => {
    process.stderr.write(`${message}\n${remedy === undefined ? '' : `${remedy}\n`}`);
  };
  const watching = await watchProtos(async () => {
    try {
      config = withOptions(await loadConfig(options.config), options);
      const { text, error, signature } = generateOnce(config, options);
      // A file that was saved as it was is no news.
      if (signature !== last) {
        process.stdout.write(text);
        if (error) complain(error);
      }
      last = signature;
    } catch (error) {
      // A configuration that never was right has nothing to watch.
      if (config === undefined || !(error instanceof CliError)) throw error;
      if (error.message !== last) complain(error);
      last = error.message;
    }
    const { file, protos, importPaths } = config;
    return [...watchedPaths(protos, importPaths), ...(file === undefined ? [] : [file])];
  });
  if (!options.json) process.stdout.write('watching for changes; Ctrl-C ends it\n');
  await ended;
  await watching.close();
}
