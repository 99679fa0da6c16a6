// The words of a command line, checked.

import { parseArgs } from 'node:util';

/** An option with a value: what it is for, and what it is when it is left out. */
export interface Option {
  readonly meaning: string;
  readonly default: string;
}

/** The options of a command by name. */
export type Options = Readonly<Record<string, Option>>;

/** Where the server of this example listens. */
export const target: Option = {
  meaning: 'host:port of the server',
  default: `${process.env['HOST'] ?? '127.0.0.1'}:${process.env['PORT'] ?? 50052}`,
};

/**
 * The value of every option. Ends the process where there is nothing to run: with the list of options
 * after `--help`, with code 2 where the command line is wrong.
 */
export function readArguments<O extends Options>(
  command: string,
  options: O,
): { readonly [K in keyof O]: string } {
  const entries = Object.entries(options);
  const usage = [
    `npm run ${command} -w examples/pubsub -- [options]`,
    ...entries.map(([name, { meaning, default: value }]) => {
      return `  --${name.padEnd(10)} ${meaning}${value === '' ? '' : ` (${value})`}`;
    }),
  ].join('\n');
  try {
    const { values } = parseArgs({
      options: {
        help: { type: 'boolean', default: false },
        ...Object.fromEntries(
          entries.map(([name, option]) => [name, { type: 'string', default: option.default }]),
        ),
      },
    });
    if (values.help !== true) return values as { readonly [K in keyof O]: string };
  } catch (error) {
    fail(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  }
  process.stdout.write(`${usage}\n`);
  process.exit(0);
}

/** The value of an option that is a whole number. */
export function whole(name: string, value: string, least = 0): number {
  const number = Number(value);
  if (Number.isSafeInteger(number) && number >= least) return number;
  fail(`--${name} is ${value}, but has to be a whole number from ${least}.`);
}

export function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
