import { Command } from 'commander';
import { CliError } from '../cli-error.js';
import { type GeneratedFile, generate, outdated, write } from '../generate/generate.js';
import { GenerateError } from '../generate/generate-error.js';
import { examples } from '../help.js';
import { render, toJson } from '../proto/diagnostic.js';

interface Options {
  readonly proto: string[];
  readonly out: string;
  readonly importPath: string[];
  readonly runtime: string;
  readonly check: boolean;
  readonly json: boolean;
}

/** `millrace generate`: .proto files to TypeScript modules. */
export function generateCommand(): Command {
  return new Command('generate')
    .description('turn .proto files into TypeScript modules: messages, codecs, services')
    .option('--proto <path...>', '.proto files, or folders that hold some', ['protos'])
    .option('--out <folder>', 'where the modules go', 'src/gen')
    .option('--import-path <folder...>', 'further folders in which imports are looked for', [])
    .option('--runtime <specifier>', 'what the modules import the codecs from', 'millrace/codec')
    .option('--check', 'write nothing; fail if a module is not up to date', false)
    .option('--json', 'print what was done, or what is wrong, as JSON', false)
    .addHelpText(
      'after',
      examples(
        ['generate', 'every .proto file below protos/, to src/gen/'],
        ['generate --proto api/shop.proto --import-path third_party', 'one file and its imports'],
        ['generate --check', 'in continuous integration: is src/gen/ up to date?'],
      ),
    )
    .action(run);
}

function run({ proto, out, importPath, runtime, check, json }: Options): void {
  let files: GeneratedFile[];
  try {
    files = generate({ proto, importPaths: importPath, runtime });
  } catch (error) {
    if (!(error instanceof GenerateError)) throw error;
    if (!json) throw explained(error);
    print({ errors: error.diagnostics.map(toJson) });
    process.exitCode = 1;
    return;
  }
  const stale = outdated(files, out);
  const names = stale.map(({ path }) => path);
  const unchanged = files.length - stale.length;
  if (!check) write(stale, out);
  if (json) {
    print({ out, [check ? 'outdated' : 'written']: names, upToDate: unchanged });
    if (check && stale.length > 0) process.exitCode = 1;
    return;
  }
  if (check && stale.length > 0) {
    const reason = `${out} is not up to date (${names.join(', ')}); run millrace generate`;
    throw new CliError(reason);
  }
  const written = check ? '' : `${stale.length} written, `;
  process.stdout.write(`${out}: ${written}${unchanged} up to date\n`);
}

/** Every error with its line of source, and how many there are. */
function explained(error: GenerateError): CliError {
  const { diagnostics } = error;
  const count = diagnostics.length === 1 ? '1 error' : `${diagnostics.length} errors`;
  const text = `${diagnostics.map(render).join('\n')}\n${count}; nothing was written`;
  return new CliError(text, { cause: error });
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}
