// Vitest's global set-up: builds the servers under test, which run in processes of their own, and
// the relay with tiny socket buffers. Seconds the first time, less afterwards.

import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, '../dist');

export default function build(): void {
  const manifest = createRequire(import.meta.url).resolve('typescript/package.json');
  const projects = ['server', '../interop', '../soak', '../endurance'].map((folder) =>
    join(here, folder),
  );
  run(process.execPath, [join(dirname(manifest), 'bin/tsc'), '-b', ...projects]);
  mkdirSync(dist, { recursive: true });
  const [source, program] = [join(here, 'relay.rs'), join(dist, 'relay')];
  if (modified(program) < modified(source)) {
    run('rustc', ['--edition', '2024', '-O', '-o', program, source]);
  }
}

function modified(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function run(command: string, commandArguments: string[]): void {
  execFileSync(command, commandArguments, { stdio: ['ignore', 'inherit', 'inherit'] });
}
