// The command line, run as users run it: a process of its own.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

/** The file behind the bin `millrace`. */
export const binary = fileURLToPath(new URL('../../framework/dist/cli/main.js', import.meta.url));

export interface CliOptions {
  /** Written to standard input, which is then closed. */
  readonly input?: string;
  readonly cwd?: string;
  readonly environment?: Record<string, string | undefined>;
}

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `millrace` to its end. */
export async function millrace(
  words: readonly string[],
  { input = '', ...options }: CliOptions = {},
): Promise<CliResult> {
  const child = startMillrace(words, options);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  // It may end without reading what it is given.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** Starts `millrace`; what is left of it when the test ends is killed. */
export function startMillrace(
  words: readonly string[],
  { cwd, environment = {} }: Omit<CliOptions, 'input'> = {},
): ChildProcessWithoutNullStreams {
  const child = spawn(process.execPath, [binary, ...words], {
    cwd,
    env: { ...process.env, NO_COLOR: '1', ...environment },
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
  });
  return child;
}
