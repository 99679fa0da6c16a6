import { Command } from 'commander';
import { StatusError } from '../../status/status-error.js';
import {
  addConnectionOptions,
  type ConnectionFlags,
  Endpoint,
} from '../call/connection-options.js';
import { noService } from '../call/method-name.js';
import { statusReport } from '../call/status-report.js';
import { describeSymbol, type SymbolDescription } from '../descriptors/symbol-description.js';
import { examples } from '../help.js';

interface Flags extends ConnectionFlags {
  readonly json: boolean;
}

/** `millrace list`: what a server serves. */
export function listCommand(): Command {
  const command = new Command('list')
    .description('list the services of a server, or describe a service or a message')
    .argument('<target>', 'the server: localhost:50051, dns:///name:port, unix:/path')
    .argument('[name]', 'a service, message or enum by its full name')
    .addHelpText(
      'after',
      examples(
        ['list localhost:50051', 'all services'],
        ['list localhost:50051 shop.v1.Orders', 'its methods, with what they take and return'],
        ['list localhost:50051 shop.v1.Order --json', 'the fields of a message, for programs'],
      ),
    )
    .action((target: string, name: string | undefined) =>
      run(target, name, command.optsWithGlobals()),
    );
  addConnectionOptions(command);
  return command.option('--json', 'print JSON', false);
}

async function run(target: string, name: string | undefined, flags: Flags): Promise<void> {
  const endpoint = await Endpoint.open(target, flags);
  try {
    if (name === undefined) print(await endpoint.contract.source.services(), flags.json, lines);
    else {
      const { data, text } = await described(endpoint, name);
      print(data, flags.json, () => text);
    }
  } catch (error) {
    throw StatusError.is(error) ? await statusReport(error, target) : error;
  } finally {
    await endpoint.close();
  }
}

async function described({ contract }: Endpoint, name: string): Promise<SymbolDescription> {
  const description = (await contract.load(name)) ? describeSymbol(contract, name) : undefined;
  if (description === undefined) throw await noService(contract, name);
  return description;
}

function print<T>(value: T, json: boolean, text: (value: T) => string): void {
  process.stdout.write(`${json ? JSON.stringify(value, undefined, 2) : text(value)}\n`);
}

function lines(services: readonly string[]): string {
  return services.join('\n');
}
