import { Command } from 'commander';
import { CliError } from '../cli-error.js';
import { generate, outdated, write } from '../generate/generate.js';
import { GenerateError } from '../generate/generate-error.js';
import { examples } from '../help.js';

interface Options {
  readonly proto: string[];
  readonly out: string;
  readonly importPath: string[];
  readonly runtime: string;
  readonly check: boolean;
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

function run({ proto, out, importPath, runtime, check }: Options): void {
  try {
    const files = generate({ proto, importPaths: importPath, runtime });
    const stale = outdated(files, out);
    if (!check) write(stale, out);
    else if (stale.length > 0) {
      const names = stale.map(({ path }) => path).join(', ');
      throw new CliError(`${out} is not up to date (${names}); run millrace generate`);
    }
    const unchanged = files.length - stale.length;
    const written = check ? '' : `${stale.length} written, `;
    process.stdout.write(`${out}: ${written}${unchanged} up to date\n`);
  } catch (error) {
    if (!(error instanceof GenerateError)) throw error;
    throw new CliError(error.message, { cause: error });
  }
}
