import { Command } from 'commander';
import type { Metadata } from '../../context/metadata.js';
import type { MethodDescriptor } from '../../service/descriptor.js';
import { StatusError } from '../../status/status-error.js';
import { CallStats } from '../call/call-stats.js';
import {
  addConnectionOptions,
  type ConnectionFlags,
  Endpoint,
} from '../call/connection-options.js';
import { invoke, type Message } from '../call/invocation.js';
import { readMessage } from '../call/json-input.js';
import { jsonPieces, piecesOf } from '../call/json-stream.js';
import { jsonOf, LineOutput } from '../call/message-output.js';
import { findMethod, parseMethodName } from '../call/method-name.js';
import { statusReport } from '../call/status-report.js';
import { usageError } from '../cli-error.js';
import type { Contract, DynamicType } from '../descriptors/contract.js';
import { examples } from '../help.js';
import { canAsk, choose } from '../prompts.js';

interface Flags extends ConnectionFlags {
  readonly stats: boolean;
}

/** `millrace call`: one call of any method, with JSON for its messages. */
export function callCommand(): Command {
  const command = new Command('call')
    .description('call a method with JSON, by reflection or with a .proto file')
    .argument('<target>', 'the server: localhost:50051, dns:///name:port, unix:/path')
    .argument('[method]', 'package.Service/Method; asked for on a terminal')
    .argument('[json]', 'the request; several for a stream; - for standard input')
    .addHelpText(
      'after',
      examples(
        [`call localhost:50051 shop.v1.Orders/Get '{"id": "17"}'`, 'one request, one response'],
        [
          'call localhost:50051 shop.v1.Orders/Watch > events.ndjson',
          'a stream, a line for each message',
        ],
        [
          'call localhost:50051 shop.v1.Orders/Upload - --stats < orders.ndjson',
          'a stream from a file, with figures on standard error',
        ],
        [
          `call shop.example.com:443 shop.v1.Orders/Get --tls --metadata 'authorization: Bearer …'`,
          'TLS and metadata',
        ],
        [
          'call localhost:50051 shop.v1.Orders/Get --proto protos/orders.proto',
          'without reflection',
        ],
      ),
    )
    .action((target: string, method: string | undefined, json: string | undefined) =>
      run(target, method, json, command.optsWithGlobals()),
    );
  addConnectionOptions(command);
  return command.option('--stats', 'print rates and latencies to standard error', false);
}

async function run(
  target: string,
  methodText: string | undefined,
  json: string | undefined,
  flags: Flags,
): Promise<void> {
  const given = methodText === undefined ? undefined : parseMethodName(methodText);
  if (given === undefined && !canAsk()) {
    throw usageError(
      "missing required argument 'method'",
      'Write it as package.Service/Method; millrace list shows what there is.',
    );
  }
  const endpoint = await Endpoint.open(target, flags);
  try {
    const name =
      given ?? parseMethodName(await choose('Which method?', await allMethods(endpoint)));
    const method = await findMethod(endpoint.contract, name);
    await call(endpoint, name.service, method, json, flags);
  } catch (error) {
    throw StatusError.is(error) ? await statusReport(error, target, endpoint.contract) : error;
  } finally {
    await endpoint.close();
    // A call may end before its input does.
    process.stdin.destroy();
  }
}

async function allMethods({ contract }: Endpoint): Promise<string[]> {
  const names: string[] = [];
  for (const service of await contract.source.services()) {
    await contract.load(service);
    const { methods = [] } = contract.service(service) ?? {};
    names.push(...methods.map(({ name }) => `${service}/${name}`));
  }
  return names;
}

async function call(
  { connection, contract }: Endpoint,
  service: string,
  method: MethodDescriptor,
  json: string | undefined,
  flags: Flags,
): Promise<void> {
  const streams = method.kind === 'client-streaming' || method.kind === 'bidi';
  const read = requests(contract, method.input as DynamicType, json, streams);
  const input = streams ? undefined : await onlyOne(read, method);
  const stats = new CallStats();
  const output = new LineOutput(process.stdout);
  const ticking = flags.stats && method.kind !== 'unary' ? progress(stats) : undefined;
  try {
    const made = invoke(connection, service, method, input ?? counted(read, stats), flags);
    if (input !== undefined) stats.sent();
    if (flags.verbose) {
      void made.headers.then((metadata) => show('headers', metadata));
      void made.trailers.then((metadata) => show('trailers', metadata));
    }
    for await (const response of made.responses) {
      stats.received();
      const value = await jsonOf(contract, method.output as DynamicType, response);
      const indent = method.kind === 'unary' && process.stdout.isTTY ? 2 : undefined;
      await output.write(JSON.stringify(value, undefined, indent));
    }
  } finally {
    clearInterval(ticking);
    await output.flush();
    if (flags.stats) process.stderr.write(`${stats.summary()}\n`);
  }
}

/** The messages of the command line or of standard input, each when it is asked for. */
async function* requests(
  contract: Contract,
  type: DynamicType,
  json: string | undefined,
  streams: boolean,
): AsyncGenerator<Message> {
  const fromInput = json === '-' || (json === undefined && streams);
  if (fromInput && process.stdin.isTTY) {
    process.stderr.write('Type messages as JSON; end with Ctrl-D.\n');
  }
  const pieces = fromInput ? jsonPieces(standardInput()) : piecesOf(json ?? '{}');
  const origin = fromInput ? 'standard input' : 'the JSON';
  for await (const piece of pieces) yield await readMessage(contract, type, piece, origin);
}

async function* standardInput(): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    for await (const bytes of process.stdin) {
      yield decoder.decode(bytes as Uint8Array, { stream: true });
    }
    yield decoder.decode();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw usageError(
      'standard input is not UTF-8.',
      'JSON is: convert it, with iconv for example.',
    );
  }
}

/** The one message of a method that takes one; without any it is empty. */
async function onlyOne(
  messages: AsyncIterable<Message>,
  { name, input }: MethodDescriptor,
): Promise<Message> {
  let only: Message | undefined;
  for await (const message of messages) {
    if (only !== undefined) {
      throw usageError(`${name} takes one ${input.typeName}, and there are several.`);
    }
    only = message;
  }
  return only ?? (input.create() as Message);
}

async function* counted(
  messages: AsyncIterable<Message>,
  stats: CallStats,
): AsyncGenerator<Message> {
  for await (const message of messages) {
    stats.sent();
    yield message;
  }
}

function progress(stats: CallStats): NodeJS.Timeout {
  return setInterval(() => process.stderr.write(`${stats.progress()}\n`), 1000).unref();
}

function show(title: string, metadata: Metadata): void {
  for (const [name, value] of metadata) {
    const text = typeof value === 'string' ? value : Buffer.from(value).toString('base64');
    process.stderr.write(`${title}: ${name}: ${text}\n`);
  }
}
