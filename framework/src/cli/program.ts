import { Command, CommanderError } from 'commander';
import { MillraceError } from '../errors.js';
import { CliError, ExitCode } from './cli-error.js';
import { commandTable } from './command-table.js';
import { packageVersion } from './package-version.js';

const EXIT_CODES = `
Exit codes:
  0        done
  1        failed; standard error says why
  2        the command line cannot be understood
  64 + n   millrace call: the call ended with gRPC status code n`;

/**
 * Runs a command line to its end and answers the exit code. What went wrong is a sentence on
 * standard error.
 *
 * @param argv without the names of the interpreter and the script
 */
export async function run(argv: readonly string[]): Promise<number> {
  const program = new Command('millrace');
  try {
    await build(program, argv);
    await program.parseAsync(argv, { from: 'user' });
    return Number(process.exitCode ?? ExitCode.OK);
  } catch (error) {
    if (error instanceof CommanderError) {
      // It has been said already; asking for help or the version is no error.
      return error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE;
    }
    process.stderr.write(explain(error, program.opts()['verbose'] === true));
    return error instanceof CliError ? error.exitCode : ExitCode.FAILURE;
  }
}

async function build(program: Command, argv: readonly string[]): Promise<void> {
  program
    .description('gRPC services in plain TypeScript')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show how to use it')
    .helpCommand('help [command]', 'show how to use a command')
    .option('--verbose', 'show where an error comes from', false)
    .addHelpText('after', EXIT_CODES)
    .configureHelp({ showGlobalOptions: true })
    .showSuggestionAfterError()
    .showHelpAfterError('(see --help)')
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, '')),
    })
    .exitOverride();
  const asked = argv.filter((word) => !word.startsWith('-'));
  const wanted = asked[0] === 'help' ? asked[1] : asked[0];
  for (const row of commandTable) {
    const command =
      row.name === wanted ? await row.load() : new Command(row.name).description(row.summary);
    inherit(program, command);
    program.addCommand(command);
  }
}

function inherit(parent: Command, command: Command): void {
  command.copyInheritedSettings(parent);
  for (const nested of command.commands) inherit(command, nested);
}

/** An error as its reader needs it, with a line feed at the end. */
function explain(error: unknown, verbose: boolean): string {
  if (verbose) return `${traces(error)}\n`;
  if (error instanceof CliError) {
    return `${error.message}\n${error.remedy === undefined ? '' : `${error.remedy}\n`}`;
  }
  const message = error instanceof Error ? error.message : String(error);
  // Native code says what to do, too, with a code of ours on an error of its own.
  const { code } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  if (error instanceof MillraceError || code?.startsWith('MILLRACE_')) return `${message}\n`;
  return `${message}\nRun it again with --verbose to see where this comes from.\n`;
}

/** The stack of an error and of its causes, with the remedy. */
function traces(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { stack, message, cause } = error;
  const remedy = error instanceof CliError && error.remedy !== undefined ? `\n${error.remedy}` : '';
  const before = cause === undefined ? '' : `\ncaused by ${traces(cause)}`;
  return `${stack ?? message}${remedy}${before}`;
}
