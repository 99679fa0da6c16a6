import { styleText } from 'node:util';
import { Command, InvalidArgumentError, Option } from 'commander';
import { ExitCode } from '../cli-error.js';
import { gatherFacts } from '../doctor/facts.js';
import { type Finding, findings, type Level } from '../doctor/findings.js';
import { examples } from '../help.js';

interface Flags {
  readonly host: string;
  readonly port?: number;
  readonly json: boolean;
}

const PORT_DEFAULT = 50051;

/** `millrace doctor`: how a server would run here. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check how a server would run here: driver, kernel, limits, port')
    .addOption(
      new Option('--port <number>', 'the port that has to be free')
        .argParser(portNumber)
        .default(undefined, String(PORT_DEFAULT)),
    )
    .option('--host <address>', 'the address that it is looked for on', '127.0.0.1')
    .option('--json', 'print JSON', false)
    .addHelpText(
      'after',
      examples(
        ['doctor', 'what is good, what could be better, and how'],
        ['doctor --host 0.0.0.0 --port 443', 'can a server listen there?'],
        ['doctor --json', 'for programs; exits with 1 if something fails'],
      ),
    )
    .action(run);
}

async function run({ host, port, json }: Flags): Promise<void> {
  const facts = await gatherFacts(host, port ?? PORT_DEFAULT);
  const list = findings(facts, port !== undefined);
  const level = worst(list);
  const text = json ? JSON.stringify({ level, findings: list }, undefined, 2) : shown(list);
  process.stdout.write(`${text}\n`);
  if (level === 'fail') process.exitCode = ExitCode.FAILURE;
}

function worst(list: readonly Finding[]): Level {
  const has = (level: Level) => list.some((finding) => finding.level === level);
  if (has('fail')) return 'fail';
  return has('warn') ? 'warn' : 'ok';
}

function shown(list: readonly Finding[]): string {
  const width = Math.max(...list.map(({ check }) => check.length));
  const indent = ' '.repeat('warn  '.length + width + 2);
  return list
    .map(({ check, level, message, remedy }) => {
      const line = `${coloured(level)}${' '.repeat(6 - level.length)}${check.padEnd(width)}  ${message}`;
      if (remedy === undefined) return line;
      return `${line}\n${remedy.replaceAll(/^/gm, indent)}`;
    })
    .join('\n');
}

const colours = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

function coloured(level: Level): string {
  const plain = process.stdout.isTTY !== true || process.env['NO_COLOR'] !== undefined;
  return plain ? level : styleText(colours[level], level);
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65_535) {
    throw new InvalidArgumentError('A port is a number from 1 to 65535.');
  }
  return port;
}
