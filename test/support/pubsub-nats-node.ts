// A server process with pub/sub over NATS.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

const program = fileURLToPath(new URL('../dist/endurance/endurance/server.js', import.meta.url));

export interface NatsNodeSettings {
  readonly space: string;
  /** The options of `nats()`. */
  readonly nats: Readonly<Record<string, unknown>>;
  /** Further options of `pubSub()`. */
  readonly [option: string]: unknown;
}

export interface NatsNode {
  readonly port: number;
  readonly logs: readonly string[];
  /** As kill -9 does. */
  kill(): Promise<void>;
  /** Drains it; the code that it ends with. */
  drain(): Promise<number | null>;
}

/** Started on a free port, and killed when the test is finished. */
export async function startNatsNode(settings: NatsNodeSettings): Promise<NatsNode> {
  const child: ChildProcess = fork(program, [], {
    env: { ...process.env, MILLRACE_ENDURANCE: JSON.stringify({ port: 0, ...settings }) },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const logs: string[] = [];
  createInterface({ input: child.stdout! }).on('line', (line) => logs.push(line));
  const exited = once(child, 'exit');
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(kill);
  const [{ port }] = (await Promise.race([
    once(child, 'message'),
    exited.then(() => {
      throw new Error(`the server has ended:\n${logs.join('\n')}`);
    }),
  ])) as [{ port: number }];
  const drain = async () => {
    child.kill('SIGTERM');
    await exited;
    return child.exitCode;
  };
  return { port, logs, kill, drain };
}
