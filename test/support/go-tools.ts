// Programs of other people, written in Go: installed at a pinned version, outside of the tree.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const INSTALL_MS_MAX = 300_000;

/**
 * The path of the program, installed when it is not there yet; `undefined`, aloud, where that is not
 * possible. Tests that need it are skipped then.
 */
export function goTool(module: string, version: string): string | undefined {
  const name = module.slice(module.lastIndexOf('/') + 1);
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const folder = join(cache, 'millrace', 'go-tools', `${name}-${version}`);
  const program = join(folder, process.platform === 'win32' ? `${name}.exe` : name);
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  const { status, stderr, error } = spawnSync('go', ['install', `${module}@${version}`], {
    env: { ...process.env, GOBIN: folder },
    encoding: 'utf8',
    timeout: INSTALL_MS_MAX,
  });
  if (status === 0) return program;
  const reason = error === undefined ? stderr.trim().split('\n').at(-1) : error.message;
  console.warn(`SKIPPED: tests with ${name} ${version}, which could not be installed: ${reason}`);
  return undefined;
}
