import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

/** Starts a relay with tiny socket buffers in front of a port; returns the relay's port. */
export async function startRelay(port: number): Promise<number> {
  const program = fileURLToPath(new URL('../dist/relay', import.meta.url));
  const child = spawn(program, [String(port)], { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(async () => {
    const exited = once(child, 'exit');
    child.stdin.end();
    await exited;
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return Number(line.toString());
}
