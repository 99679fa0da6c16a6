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
    name: 'new',
    summary: 'make a project: contract, handlers, tests, everything that runs them',
    load: async () => (await import('./commands/new.js')).newCommand(),
  },
  {
    name: 'generate',
    summary: 'turn .proto files into TypeScript modules: messages, codecs, services',
    load: async () => (await import('./commands/generate.js')).generateCommand(),
  },
  {
    name: 'dev',
    summary: 'run the program, and again at each change, refusing no connection',
    load: async () => (await import('./commands/dev.js')).devCommand(),
  },
  {
    name: 'serve',
    summary: 'serve the services that a built module exports',
    load: async () => (await import('./commands/serve.js')).serveCommand(),
  },
  {
    name: 'call',
    summary: 'call a method with JSON, by reflection or with a .proto file',
    load: async () => (await import('./commands/call.js')).callCommand(),
  },
  {
    name: 'list',
    summary: 'list the services of a server, or describe a service or a message',
    load: async () => (await import('./commands/list.js')).listCommand(),
  },
  {
    name: 'add',
    summary: 'add a service or a method: .proto file, handler and test',
    load: async () => (await import('./commands/add.js')).addCommand(),
  },
  {
    name: 'doctor',
    summary: 'check how a server would run here: driver, kernel, limits, port',
    load: async () => (await import('./commands/doctor.js')).doctorCommand(),
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
