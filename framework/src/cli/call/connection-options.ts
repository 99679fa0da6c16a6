import { type Command, InvalidArgumentError } from 'commander';
import type { CallOptions } from '../../client/call-options.js';
import { type Connection, connection } from '../../client/connection.js';
import { Metadata } from '../../context/metadata.js';
import { MillraceError } from '../../errors.js';
import { createLogger } from '../../logging/logger.js';
import { usageError } from '../cli-error.js';
import { Contract } from '../descriptors/contract.js';
import type { DescriptorSource } from '../descriptors/descriptor-source.js';

/** The options of every command that talks to a server. */
export interface ConnectionFlags {
  readonly proto: readonly string[];
  readonly importPath: readonly string[];
  readonly metadata: Metadata;
  /** Milliseconds. */
  readonly timeout?: number;
  readonly tls?: true;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly serverName?: string;
  readonly authority?: string;
  readonly verbose: boolean;
}

/** For questions about the contract, where no `--timeout` says otherwise. */
const REFLECTION_TIMEOUT_MS = 20_000;

/** Adds the options to a command. */
export function addConnectionOptions(command: Command): Command {
  return command
    .option('--proto <file>', 'take the contract from a .proto file (repeatable)', collect, [])
    .option('--import-path <folder>', 'where its imports are looked for (repeatable)', collect, [])
    .option(
      '--metadata <name:value>',
      'send metadata (repeatable); -bin takes base64',
      addMetadata,
      [],
    )
    .option('--timeout <duration>', 'give up after this time: 500ms, 5s, 1m', durationMs)
    .option('--tls', "speak TLS, trusting the system's authorities")
    .option('--ca <file>', 'speak TLS, trusting the authorities in this PEM file')
    .option('--cert <file>', 'the client certificate chain, PEM; with --key')
    .option('--key <file>', 'its private key, PEM')
    .option('--server-name <name>', "what the server's certificate has to be for")
    .option('--authority <name>', 'what :authority says, instead of the target');
}

/** A connection, and what is known about the server behind it. */
export class Endpoint {
  readonly connection: Connection;
  readonly contract: Contract;
  readonly #close: () => void;

  private constructor(made: Connection, source: DescriptorSource, close: () => void) {
    this.connection = made;
    this.contract = new Contract(source);
    this.#close = close;
  }

  /** Connects with the first call. @throws CliError for flags that do not fit together */
  static async open(target: string, flags: ConnectionFlags): Promise<Endpoint> {
    const made = openConnection(target, flags);
    if (flags.proto.length > 0) {
      const { ProtoSource } = await import('../descriptors/proto-source.js');
      return new Endpoint(made, new ProtoSource(flags.proto, flags.importPath), () => {});
    }
    const { ReflectionSource } = await import('../descriptors/reflection-source.js');
    const { timeoutMs = REFLECTION_TIMEOUT_MS, ...rest } = callOptions(flags);
    const source = new ReflectionSource(made, { ...rest, timeoutMs });
    return new Endpoint(made, source, () => source.close());
  }

  async close(): Promise<void> {
    this.#close();
    await this.connection.close(0);
  }
}

/** What the flags say about a call. */
export function callOptions({ metadata, timeout }: ConnectionFlags): CallOptions {
  return {
    ...(metadata.size > 0 ? { metadata } : {}),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
  };
}

function openConnection(target: string, flags: ConnectionFlags): Connection {
  const { tls, ca, cert, key, serverName, authority, verbose } = flags;
  const speaksTls = [tls, ca, cert, key, serverName].some((flag) => flag !== undefined);
  try {
    return connection(target, {
      ...(speaksTls ? { tls: { ca, cert, key, serverName } } : {}),
      authority,
      // Standard output is for messages alone.
      logger: verbose ? createLogger('debug', process.stderr) : createLogger('silent'),
    });
  } catch (error) {
    if (error instanceof MillraceError) throw usageError(error.message);
    throw error;
  }
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

function addMetadata(value: string, before: Metadata | readonly []): Metadata {
  const colon = value.indexOf(':', 1);
  if (colon < 0) throw new InvalidArgumentError('Write it as name:value.');
  const name = value.slice(0, colon);
  const text = value.slice(colon + 1).replace(/^ /, '');
  try {
    return Metadata.from(before).append(
      name,
      name.toLowerCase().endsWith('-bin') ? Buffer.from(text, 'base64') : text,
    );
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function durationMs(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  const factor = unitMs[unit];
  if (number === undefined || factor === undefined) {
    throw new InvalidArgumentError('Write a number with its unit: 500ms, 5s, 1m, 1h.');
  }
  return Number(number) * factor;
}
