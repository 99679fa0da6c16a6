import { type Command, InvalidArgumentError, Option } from 'commander';
import { CliError, usageError } from '../cli-error.js';
import { type LoadedConfig, loadConfig } from '../config/load-config.js';

/** How `serve` and `dev` are told where to listen. */
export interface ListenFlags {
  readonly host?: string;
  readonly port?: number;
  readonly config?: string;
}

const HOST_DEFAULT = '127.0.0.1';
const PORT_DEFAULT = 50051;

export function addListenOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--port <number>',
        `the port, 0 for any free one (default: PORT, the configuration's, or ${PORT_DEFAULT})`,
      ).argParser(portNumber),
    )
    .option(
      '--host <address>',
      `the address (default: HOST, the configuration's, or ${HOST_DEFAULT})`,
    )
    .option('--config <file>', 'the configuration (default: millrace.config.ts, if there is one)');
}

/** Where to listen: as the command line says, or else the environment, or else the configuration. */
export function listenAddress(
  flags: ListenFlags,
  config: LoadedConfig | undefined,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): { readonly host: string; readonly port: number } {
  const { HOST, PORT } = environment;
  return {
    host: flags.host ?? (HOST || undefined) ?? config?.host ?? HOST_DEFAULT,
    port: flags.port ?? portOf(PORT) ?? config?.port ?? PORT_DEFAULT,
  };
}

/** The configuration, where something is asked of it. */
export async function configFor(flags: ListenFlags): Promise<LoadedConfig | undefined> {
  const { HOST, PORT } = process.env;
  const told = (flags.host ?? HOST) && (flags.port ?? PORT) !== undefined;
  if (flags.config === undefined && told) return undefined;
  try {
    return await loadConfig(flags.config);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    const remedy = 'Where it cannot be loaded, give both --host and --port: then it is not read.';
    throw new CliError(error.message, {
      remedy: error.remedy === undefined ? remedy : `${error.remedy}\n${remedy}`,
      exitCode: error.exitCode,
      cause: error,
    });
  }
}

/** What is wrong with the address, with where it comes from; other errors as they are. */
export function addressError(error: unknown): unknown {
  const { code, message } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  if (message === undefined || !/^MILLRACE_(HOST|PORT|LISTEN)_/.test(code ?? '')) return error;
  return new CliError(message, {
    remedy: '--host and --port say where, or HOST and PORT in the environment.',
    cause: error,
  });
}

function portOf(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (isPort(text)) return Number(text);
  throw usageError(
    `The environment says PORT=${text}, which is no port`,
    'A port is a number from 0 to 65535; set it right, or give --port.',
  );
}

export function portNumber(text: string): number {
  if (!isPort(text)) throw new InvalidArgumentError('A port is a number from 0 to 65535.');
  return Number(text);
}

function isPort(text: string): boolean {
  return /^\d+$/.test(text) && Number(text) <= 65_535;
}
