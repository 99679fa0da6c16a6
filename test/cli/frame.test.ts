// What all commands have in common.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { binary, millrace } from '../support/cli.js';

const { commandTable } = (await import(
  new URL('../../framework/dist/cli/command-table.js', import.meta.url).href
)) as { commandTable: { name: string; summary: string }[] };
const names = commandTable.map(({ name }) => name);

test('there are commands', () => {
  expect(names).toContain('generate');
});

test('--version prints that of the package', async () => {
  const manifest = new URL('../../framework/package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
  expect(await millrace(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
});

describe('help', () => {
  test('lists all commands and the exit codes', async () => {
    const { code, stdout, stderr } = await millrace(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const name of names) expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, 'm'));
    expect(stdout).toContain('Exit codes:');
  });

  test.each(commandTable)('$name: summary and examples', async ({ name, summary }) => {
    const { code, stdout, stderr } = await millrace([name, '--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.replace(/\s+/g, ' ')).toContain(summary);
    expect(stdout).toContain(`Usage: millrace ${name}`);
    expect(stdout).toMatch(new RegExp(`^Examples:\\n  # .*\\n  \\$ millrace ${name}\\b`, 'm'));
    expect(await millrace(['help', name])).toEqual({ code, stdout, stderr });
  });

  test('without a command it goes to standard error, since nothing was done', async () => {
    const { code, stdout, stderr } = await millrace([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('Usage: millrace');
  });
});

describe('a command line that cannot be understood', () => {
  test.each([
    { words: ['generat'], says: "unknown command 'generat'\n(Did you mean generate?)" },
    { words: ['generate', '--chek'], says: "unknown option '--chek'\n(Did you mean --check?)" },
    { words: ['completion'], says: "missing required argument 'shell'" },
    { words: ['completion', 'csh'], says: "'csh' is invalid for argument 'shell'" },
  ])('$words', async ({ words, says }) => {
    const { code, stdout, stderr } = await millrace(words);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(says);
    expect(stderr).toContain('(see --help)');
  });
});

describe('a failure', () => {
  const words = ['generate', '--proto', 'no-such-folder'];

  test('is a sentence', async () => {
    const { code, stdout, stderr } = await millrace(words);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('no-such-folder');
    expect(stderr).not.toContain('    at ');
  });

  test.each([
    ['--verbose', ...words],
    [...words, '--verbose'],
  ])('has a trace with --verbose (%s …)', async (...line) => {
    const { code, stderr } = await millrace(line);
    expect(code).toBe(1);
    expect(stderr).toContain('    at ');
    expect(stderr).toContain('caused by GenerateError');
  });
});

test.runIf(existsSync('/dev/full'))(
  'a full disk behind standard output is a sentence',
  async () => {
    const line = '"$0" "$1" --version > /dev/full';
    const child = spawn('sh', ['-c', line, process.execPath, binary], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    expect(await once(child, 'close')).toEqual([1, null]);
    expect(stderr).toMatch(/^standard output cannot be written: ENOSPC.*\nMake room .*\n$/);
  },
);

describe('completion', () => {
  /** What a shell offers for a line whose last word is being typed. */
  function complete(script: string, line: readonly string[]): string[] {
    const program = `${script}
COMP_WORDS=(${line.map((word) => `"${word}"`).join(' ')})
COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
_millrace
printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { status, stdout, stderr } = spawnSync('bash', ['-c', program], { encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return stdout.split('\n').filter((word) => word !== '');
  }

  const withBash = spawnSync('bash', ['--version']).status === 0;

  test.runIf(withBash)('bash', async () => {
    const { code, stdout: script } = await millrace(['completion', 'bash']);
    expect(code).toBe(0);
    expect(complete(script, ['millrace', ''])).toEqual(expect.arrayContaining(names));
    expect(complete(script, ['millrace', 'gen'])).toEqual(['generate']);
    expect(complete(script, ['millrace', 'generate', '--ch'])).toEqual(['--check']);
    expect(complete(script, ['millrace', 'completion', 'f'])).toEqual(['fish']);
    // Then it is the shell's turn, with names of files.
    expect(complete(script, ['millrace', 'generate', '--out', ''])).toEqual([]);
  });

  test.each(['zsh', 'fish'])('%s: every command and option is in the script', async (shell) => {
    const { code, stdout } = await millrace(['completion', shell]);
    expect(code).toBe(0);
    const plain = stdout.replaceAll('\\:', ':');
    for (const { summary } of commandTable) expect(plain).toContain(summary);
    expect(stdout).toContain(shell === 'zsh' ? '--check' : '-l check');
    if (spawnSync(shell, ['--version']).status !== 0) return;
    const { status, stderr } = spawnSync(shell, ['-n'], { input: stdout, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});
