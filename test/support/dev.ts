// `millrace dev`, run as users run it.

import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { startMillrace } from './cli.js';
import { eventually } from './eventually.js';

/** It starts programs, which takes its time where many do. */
const PATIENCE_MS = 30_000;

/** `millrace dev` as it runs. */
export interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  readonly output: { stdout: string; stderr: string };
  readonly target: string;
  /** Waits until it has said so. */
  says(text: string | RegExp): Promise<unknown>;
}

/** Starts it in a project, on a free port; it has ended when the test has. */
export async function dev(cwd: string, ...words: string[]): Promise<Running> {
  const child = startMillrace(['dev', '--port', '0', ...words], { cwd });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'close');
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  const all = () => output.stdout + output.stderr;
  const says = (text: string | RegExp) =>
    eventually(
      `it says ${text}`,
      all,
      (now) => (typeof text === 'string' ? now.includes(text) : text.test(now)),
      PATIENCE_MS,
    );
  await says('Ctrl-C ends it');
  const target = /^listening on (\S+);/.exec(output.stdout)![1]!;
  return { child, output, target, says };
}
