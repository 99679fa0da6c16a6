import { closeSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseEnv, stripVTControlCharacters } from 'node:util';
import { Command, InvalidArgumentError, Option } from 'commander';
import { loadDescriptors } from '../../bridge/native.js';
import { CliError } from '../cli-error.js';
import { type LoadedConfig, loadConfig } from '../config/load-config.js';
import { Builder } from '../dev/build.js';
import { pretty, stamped } from '../dev/pretty.js';
import { statsLine } from '../dev/stats-line.js';
import { Supervisor } from '../dev/supervisor.js';
import { TypeCheck } from '../dev/type-check.js';
import { explained } from '../generate/explained.js';
import { generate, outdated } from '../generate/generate.js';
import { GenerateError } from '../generate/generate-error.js';
import { watchedPaths } from '../generate/sources.js';
import { watchProtos } from '../generate/watch.js';
import { write } from '../generate/write.js';
import { examples } from '../help.js';
import {
  addListenOptions,
  addressError,
  type ListenFlags,
  listenAddress,
} from '../serve/listen-options.js';
import { untilSignal } from '../signals.js';
import { writeRemedy } from '../write-remedy.js';

const BACKLOG = 4096;
/** Beside the sources, so that packages are found from it; ignores itself in git. */
const WORK = '.millrace';

/** `millrace dev`: the project's program, started again at each change without refusing anybody. */
export function devCommand(): Command {
  const command = new Command('dev')
    .description('run the program, and again at each change, refusing no connection')
    .argument('[entry]', 'the program (default: that of the configuration, or src/main.ts)');
  return addListenOptions(command)
    .addOption(
      new Option(
        '--stats <seconds>',
        'a line with what the program does, every so often if there is something to say; 0: never',
      )
        .argParser(secondsNumber)
        .default(10),
    )
    .option('--no-types', 'do not check types beside it, where the project has a compiler')
    .addHelpText(
      'after',
      examples(
        ['dev', 'src/main.ts, on 127.0.0.1:50051'],
        ['dev --port 8080', 'on another port, whatever the program says'],
        ['dev src/admin.ts --stats 0', 'another program, without statistics'],
      ),
    )
    .action((entry: string | undefined) => run(entry, command.optsWithGlobals()));
}

interface Flags extends ListenFlags {
  readonly stats: number;
  readonly types: boolean;
  readonly verbose: boolean;
}

async function run(given: string | undefined, flags: Flags): Promise<void> {
  let config = await loadConfig(flags.config);
  const entry = given ?? config.entry;
  if (!existsSync(entry)) {
    throw new CliError(`${entry} does not exist`, {
      remedy: 'Name the program that calls serve(), here or as entry in millrace.config.ts.',
    });
  }
  const dotenv = existsSync('.env') ? parseEnv(readFileSync('.env', 'utf8')) : {};
  const { host, port } = listenAddress(flags, config, { ...dotenv, ...process.env });
  const native = await loadDescriptors();
  let descriptor: number;
  try {
    descriptor = native.openListener(host, port, BACKLOG);
  } catch (error) {
    throw addressError(error);
  }
  const work = resolve(WORK, `dev-${process.pid}`);
  try {
    mkdirSync(work, { recursive: true });
    writeFileSync(join(WORK, '.gitignore'), '*\n');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CliError(`${WORK} cannot be written: ${reason}`, {
      remedy: `It is where dev builds the program. ${writeRemedy(error)}`,
      cause: error,
    });
  }
  const coloured = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;
  const say = (text: string) => process.stdout.write(`${pretty(text, coloured)}\n`);
  const address = native.adoptListener(descriptor);
  const supervisor = new Supervisor(
    descriptor,
    address,
    say,
    (report) => process.stdout.write(`${stamped('stats', statsLine(report), coloured)}\n`),
    flags.stats * 1000,
    flags.verbose,
  );
  const told = untilSignal(
    () => void supervisor.end(),
    () => supervisor.kill(),
  );
  const builder = new Builder(entry);
  const types = flags.types
    ? TypeCheck.of(entry, (text) => void process.stderr.write(`${text}\n`))
    : undefined;
  let builds = 0;
  // Signatures: of the program that listens, and of one that does not yet.
  let running = '';
  let starting = '';
  let said = '';
  const job = async (): Promise<readonly string[]> => {
    const startedAt = performance.now();
    types?.stop();
    const folder = join(work, String(++builds));
    const remove = () => rmSync(folder, { recursive: true, force: true });
    try {
      if (builds > 1) config = await loadConfig(flags.config);
      generateAll(config);
      const built = await builder.build(folder);
      said = '';
      const signature = `${built.signature} ${existsSync('.env') ? readFileSync('.env', 'utf8') : ''}`;
      if (signature === starting) remove();
      // A program that has died starts again even where nothing of it has changed.
      else if (signature === running && supervisor.running) {
        supervisor.abandon();
        starting = '';
        remove();
      } else {
        starting = signature;
        const verb = builds === 1 ? 'started' : 'restarted';
        const settled = (failure?: string) => {
          starting = '';
          if (failure === undefined) {
            running = signature;
            say(`${verb} in ${Math.round(performance.now() - startedAt)} ms`);
          } else
            process.stderr.write(
              `${entry} ended before it listened (${failure})${kept(supervisor.running)}\n`,
            );
        };
        await supervisor.replace(pathToFileURL(built.entry).href, settled, remove);
      }
      // After what it would slow, and not beside what the bundler says.
      types?.start();
    } catch (error) {
      remove();
      const text = explanation(error);
      if (text !== said) process.stderr.write(`${text}${kept(supervisor.running)}\n`);
      said = text;
    }
    const { file, protos, importPaths } = config;
    return [
      ...watchedPaths(protos.filter(existsSync), importPaths),
      dirname(resolve(entry)),
      ...(file === undefined ? [] : [file]),
      '.env',
    ];
  };
  say(`listening on ${address}; Ctrl-C ends it`);
  const watching = await watchProtos(job, (path) => /\.(proto|[cm]?[jt]s|json)$/.test(path));
  await told;
  await Promise.all([supervisor.end(), watching.close()]);
  types?.stop();
  await builder.close();
  closeSync(descriptor);
  rmSync(work, { recursive: true, force: true });
}

function secondsNumber(text: string): number {
  const seconds = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || seconds > 86_400) {
    throw new InvalidArgumentError('Give seconds, at most 86400, or 0 for never.');
  }
  return seconds;
}

function generateAll({ protos, importPaths, runtime, out }: LoadedConfig): void {
  const proto = protos.filter(existsSync);
  if (proto.length === 0) return;
  const stale = outdated(generate({ proto, importPaths, runtime }), out);
  if (stale.length > 0) write(stale, out);
}

function kept(running: boolean): string {
  return running ? '; the one before goes on' : '; a change starts it again';
}

function explanation(error: unknown): string {
  const shown = error instanceof GenerateError ? explained(error) : error;
  if (shown instanceof CliError) {
    return `${shown.message}${shown.remedy === undefined ? '' : `\n${shown.remedy}`}\nnothing was started`;
  }
  // Bundlers colour what they say, wherever it goes.
  const coloured = shown instanceof Error ? shown.message : String(shown);
  // Nor does a backtrace of their own code help, as they have it where the disk is full.
  const text = stripVTControlCharacters(coloured).replace(
    /\n+Stack backtrace:(?:\n[ \t]+.*)*/g,
    '',
  );
  return `${text.trimEnd()}\nnothing was started`;
}
