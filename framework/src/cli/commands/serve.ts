import { existsSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import { MillraceError } from '../../errors.js';
import type { LogLevel } from '../../logging/logger.js';
import { type Server, serve } from '../../server/serve.js';
import { CliError, usageError } from '../cli-error.js';
import { examples } from '../help.js';
import {
  addListenOptions,
  addressError,
  configFor,
  type ListenFlags,
  listenAddress,
  portNumber,
} from '../serve/listen-options.js';
import type { MetricsServer } from '../serve/metrics.js';

interface Flags extends ListenFlags {
  readonly path?: string;
  readonly threads: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly health: boolean;
  readonly reflection: boolean;
  readonly logLevel?: LogLevel;
  readonly metricsPort?: number;
}

const ENTRY_DEFAULT = 'dist/services.js';
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/** `millrace serve`: a built module of services, in production. */
export function serveCommand(): Command {
  const command = new Command('serve')
    .description('serve the services that a built module exports')
    .argument('[entry]', 'the module, JavaScript', ENTRY_DEFAULT);
  addListenOptions(command)
    .addOption(
      new Option('--path <path>', 'a Unix socket instead: a file, or unix-abstract:name').conflicts(
        ['host', 'port'],
      ),
    )
    .addOption(
      new Option('--threads <number>', 'server threads; auto: one for each core')
        .argParser(threadNumber)
        .default(1),
    )
    .option('--tls-cert <file>', 'speak TLS: the certificate chain, PEM')
    .option('--tls-key <file>', 'its private key, PEM')
    .option('--health', 'serve grpc.health.v1 too (@millrace/health)', false)
    .option('--reflection', 'serve reflection too (@millrace/reflection)', false)
    .addOption(
      new Option('--log-level <level>', 'what is logged (default: LOG_LEVEL, or info)').choices(
        LEVELS,
      ),
    )
    .addOption(
      new Option(
        '--metrics-port <number>',
        'answer /metrics for Prometheus on this port, over plain HTTP (default: not at all)',
      ).argParser(portNumber),
    )
    .addHelpText(
      'after',
      examples(
        ['serve', `${ENTRY_DEFAULT}, on 127.0.0.1:50051`],
        ['serve dist/services.js --host 0.0.0.0 --threads auto', 'all addresses, all cores'],
        ['serve --tls-cert server.pem --tls-key server.key', 'with TLS'],
        ['serve --metrics-port 9464', 'with metrics on http://127.0.0.1:9464/metrics'],
        ['serve --path /run/shop.sock --health', 'on a Unix socket, with health checking'],
      ),
    )
    .action(run);
  return command;
}

async function run(entry: string, flags: Flags): Promise<void> {
  const { path, threads, tlsCert: cert, tlsKey: key, logLevel: level, metricsPort } = flags;
  const module = builtModule(entry);
  if ((cert === undefined) !== (key === undefined)) {
    throw usageError(
      `--tls-${cert === undefined ? 'key' : 'cert'} is given without --tls-${cert === undefined ? 'cert' : 'key'}`,
      'TLS needs both: the certificate chain and its private key.',
    );
  }
  const services = servedModule(module, flags);
  const address: { readonly host?: string; readonly port?: number; readonly path?: string } =
    path === undefined ? listenAddress(flags, await configFor(flags)) : { path };
  const metrics = metricsPort === undefined ? undefined : await listenMetrics(address, metricsPort);
  let server: Server;
  try {
    server = await serve({
      services,
      ...address,
      threads,
      ...(level === undefined ? {} : { log: { level } }),
      ...(cert === undefined || key === undefined ? {} : { tls: { cert, key } }),
    });
  } catch (error) {
    metrics?.close();
    throw explained(error, entry);
  }
  if (metrics === undefined) return;
  metrics.serve(server);
  server.logger.info({ url: metrics.url }, 'metrics');
}

/** Where the server listens, or where there is no host, on this machine only. */
async function listenMetrics(
  address: { readonly host?: string },
  port: number,
): Promise<MetricsServer> {
  // With what it needs, which most do not.
  const { MetricsServer } = await import('../serve/metrics.js');
  return MetricsServer.listen(address.host ?? '127.0.0.1', port);
}

/** The absolute path of a module that Node.js can run as it is. */
function builtModule(entry: string): string {
  const build = 'Build the project (npm run build), and name the module that comes of it';
  if (/\.[cm]?tsx?$/.test(entry)) {
    const built = entry.replace(/^(\.\/)?src\//, 'dist/').replace(/\.([cm]?)tsx?$/, '.$1js');
    throw new CliError(`${entry} is TypeScript, and millrace serve runs JavaScript`, {
      remedy: `${build}: millrace serve ${built}. While you edit, run millrace dev.`,
    });
  }
  if (!existsSync(entry)) throw new CliError(`${entry} does not exist`, { remedy: `${build}.` });
  if (!statSync(entry).isFile()) {
    throw new CliError(`${entry} is a folder`, {
      remedy: 'Name the module that exports services.',
    });
  }
  return resolve(entry);
}

/** The address of what the threads load: the module, or ours that adds to it. */
function servedModule(module: string, flags: Flags): URL {
  const entry = pathToFileURL(module);
  const asked = (['health', 'reflection'] as const).filter((name) => flags[name]);
  if (asked.length === 0) return entry;
  const served = new URL('../serve/served-module.js', import.meta.url);
  served.searchParams.set('entry', entry.href);
  for (const name of asked) {
    const packageName = `@millrace/${name}`;
    try {
      const file = createRequire(module).resolve(packageName);
      served.searchParams.set(name, pathToFileURL(file).href);
    } catch (cause) {
      throw new CliError(`--${name} needs ${packageName}, which is not installed here`, {
        remedy: `Install it: npm install ${packageName}.`,
        cause,
      });
    }
  }
  return served;
}

/** What the framework says it says well; what the module throws needs the name of the module. */
function explained(thrown: unknown, entry: string): unknown {
  const cause =
    thrown instanceof MillraceError && thrown.code === 'MILLRACE_WORKER_FAILED'
      ? thrown.cause
      : thrown;
  const { code, message } = cause instanceof Error ? (cause as NodeJS.ErrnoException) : {};
  if (code === 'MILLRACE_SERVICES_MODULE' || message?.includes('[MILLRACE_SERVICES_MODULE]')) {
    return new CliError(`${entry} exports no service`, {
      remedy:
        'Export what service(…) returned, alone or in an array: export const services = [orders].',
      cause,
    });
  }
  const ofAddress = addressError(cause);
  if (ofAddress !== cause) return ofAddress;
  if (code?.startsWith('MILLRACE_')) {
    return new CliError(message ?? code, { cause });
  }
  return new CliError(`${entry} cannot be loaded: ${message ?? String(cause)}`, {
    remedy: 'Run it again with --verbose to see where this comes from.',
    cause,
  });
}

function threadNumber(text: string): number {
  if (text === 'auto') return availableParallelism();
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 1024) {
    throw new InvalidArgumentError('Give a number from 1 to 1024, or auto.');
  }
  return number;
}
