import { Argument, Command, Option } from 'commander';
import { protoMethodName } from '../add/names.js';
import { carryOut, type Plan, planMethod, planService } from '../add/plan.js';
import { KINDS, type Kind } from '../add/stubs.js';
import { CliError, usageError } from '../cli-error.js';
import { loadConfig } from '../config/load-config.js';
import { explained } from '../generate/explained.js';
import { GenerateError } from '../generate/generate-error.js';
import { examples } from '../help.js';
import { writeRemedy } from '../write-remedy.js';

interface Options {
  readonly kind: Kind;
  readonly config?: string;
  readonly json: boolean;
}

/** `millrace add`: a service or a method, in the .proto file, the handlers and the tests. */
export function addCommand(): Command {
  const service = withOptions(
    new Command('service')
      .description('add a service with its first method: .proto file, handler and test')
      .argument('<name>', 'OrderItems, or with its package: shop.v1.OrderItems')
      .option('--method <name>', 'its first method', 'Get'),
  )
    .addHelpText(
      'after',
      examples(
        ['add service Orders', 'orders.v1.Orders, in protos/orders/v1/orders.proto'],
        ['add service shop.v1.Orders --method Watch --kind server', 'in another package'],
      ),
    )
    .action(addService);
  const method = withOptions(
    new Command('method')
      .description('add a method to a service: .proto file, handler and test')
      .addArgument(new Argument('<service.name>', 'Orders.List, or shop.v1.Orders.List')),
  )
    .addHelpText(
      'after',
      examples(
        ['add method Orders.List --kind server', 'one request, a stream of responses'],
        ['add method shop.v1.Orders.Chat --kind bidi', 'streams both ways'],
      ),
    )
    .action(addMethod);
  return new Command('add')
    .description('add a service or a method: .proto file, handler and test')
    .addCommand(service)
    .addCommand(method)
    .addHelpText(
      'after',
      examples(
        ['add service Orders', 'a service with a first method'],
        ['add method Orders.List --kind server', 'another method for it'],
      ),
    );
}

function withOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--kind <kind>', 'who streams: nobody, the client, the server, or both')
        .choices(KINDS)
        .default('unary'),
    )
    .option('--config <file>', 'the configuration (default: millrace.config.ts, if there is one)')
    .option('--json', 'print what was done as JSON', false);
}

const NAME = /^[A-Za-z][A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*$/;
const PACKAGE = /^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*$/;

async function addService(name: string, options: Options & { method: string }): Promise<void> {
  const { prefix, last } = split(name);
  const example =
    'Write letters and digits, as in OrderItems, or shop.v1.OrderItems with a package.';
  if (!NAME.test(last) || (prefix !== undefined && !PACKAGE.test(prefix))) {
    throw usageError(`${name} is no name for a service`, example);
  }
  if (!NAME.test(options.method)) throw usageError(`${options.method} is no name for a method`);
  const method = { name: protoMethodName(options.method), kind: options.kind };
  await add(options, (config) => planService(config, name, method));
}

async function addMethod(path: string, options: Options): Promise<void> {
  const { prefix, last } = split(path);
  if (prefix === undefined) {
    throw usageError(`${path} names no service`, 'Write Service.Method, as in Orders.List.');
  }
  if (!NAME.test(last)) {
    throw usageError(`${last} is no name for a method`, 'Write letters and digits, as in ListAll.');
  }
  const method = { name: protoMethodName(last), kind: options.kind };
  await add(options, (config) => planMethod(config, prefix, method));
}

/** Splits at the last dot. */
function split(path: string): { prefix: string | undefined; last: string } {
  const dot = path.lastIndexOf('.');
  return { prefix: dot < 0 ? undefined : path.slice(0, dot), last: path.slice(dot + 1) };
}

async function add(
  options: Options,
  plan: (config: Awaited<ReturnType<typeof loadConfig>>) => Plan,
): Promise<void> {
  let planned: Plan;
  try {
    planned = plan(await loadConfig(options.config));
  } catch (error) {
    throw error instanceof GenerateError ? explained(error) : error;
  }
  try {
    carryOut(planned);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CliError(`the files cannot be written: ${reason}`, {
      remedy: `Nothing was changed. ${writeRemedy(error)}`,
      cause: error,
    });
  }
  process.stdout.write(options.json ? asJson(planned) : asText(planned));
}

function asJson({ files, manual }: Plan): string {
  const changes = files.map(({ path, change }) => ({ path, change }));
  return `${JSON.stringify({ files: changes, manual }, undefined, 2)}\n`;
}

function asText({ files, manual }: Plan): string {
  const width = Math.max(...files.map(({ path }) => path.length));
  const done = files.map(({ path, change }) => `${path.padEnd(width)}  ${change}\n`);
  const left = manual.map(
    ({ path, lines }) =>
      `\n${path} was left as it is. It takes this from you:\n${lines.map((line) => (line === '' ? '\n' : `  ${line}\n`)).join('')}`,
  );
  return [...done, ...left].join('');
}
