import type { Command } from 'commander';

/** A command as `millrace --help` lists it; its module is loaded when it is asked for. */
export interface CommandRow {
  readonly name: string;
  /** The description that the command has itself. */
  readonly summary: string;
  load(): Promise<Command>;
}

/** All commands, in the order of the help. */
export const commandTable: readonly CommandRow[] = [
  {
    name: 'generate',
    summary: 'turn .proto files into TypeScript modules: messages, codecs, services',
    load: async () => (await import('./commands/generate.js')).generateCommand(),
  },
  {
    name: 'completion',
    summary: 'print a script that completes commands and options in your shell',
    load: async () => (await import('./commands/completion.js')).completionCommand(loadCommands),
  },
];

/** Every command. */
export function loadCommands(): Promise<Command[]> {
  return Promise.all(commandTable.map((row) => row.load()));
}
