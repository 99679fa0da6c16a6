import type { Command } from 'commander';

/** A command as the scripts know it. */
export interface DescribedCommand {
  /** The words that lead to it: `['add', 'service']`; none for the program itself. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly options: readonly DescribedOption[];
  /** The names of the commands in it. */
  readonly nested: readonly string[];
  /** What its first argument may be; empty if it may be anything. */
  readonly choices: readonly string[];
}

export interface DescribedOption {
  /** `--timeout` */
  readonly flag: string;
  readonly summary: string;
  readonly takesValue: boolean;
  /** The values that it may have; empty if there is no such list. */
  readonly choices: readonly string[];
}

/** The program and all commands below it, the program first. */
export function describeCommands(commands: readonly Command[]): DescribedCommand[] {
  return [
    {
      path: [],
      summary: '',
      options: [flag('--version', 'print the version'), ...everywhere],
      nested: commands.map((command) => command.name()),
      choices: [],
    },
    ...commands.flatMap((command) => describe(command, [])),
  ];
}

function describe(command: Command, parent: readonly string[]): DescribedCommand[] {
  const path = [...parent, command.name()];
  const options = command.options
    .filter(({ hidden, long }) => !hidden && long)
    .map(({ long, description, required, optional, argChoices }) => ({
      flag: long ?? '',
      summary: description,
      takesValue: required || optional,
      choices: argChoices ?? [],
    }));
  return [
    {
      path,
      summary: command.description(),
      options: [...options, ...everywhere],
      nested: command.commands.map((nested) => nested.name()),
      choices: command.registeredArguments[0]?.argChoices ?? [],
    },
    ...command.commands.flatMap((nested) => describe(nested, path)),
  ];
}

function flag(name: string, summary: string): DescribedOption {
  return { flag: name, summary, takesValue: false, choices: [] };
}

/** What every command takes. */
const everywhere: readonly DescribedOption[] = [
  flag('--help', 'show how to use it'),
  flag('--verbose', 'show where an error comes from'),
];
