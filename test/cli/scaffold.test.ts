// From tarballs, in an empty folder outside the repository and without Rust, a project is made,
// installed, tested, built, started, called and edited. One template; `npm run scaffold` does it
// for all of them.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const script = fileURLToPath(new URL('../../scripts/scaffold.mjs', import.meta.url));

test('npm create millrace, from tarballs to a service that answers', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--template', 'unary'], {
    encoding: 'utf8',
    timeout: 590_000,
  });
  expect(status, stdout + stderr).toBe(0);
  expect(stdout).toContain('scaffold: 1 of 1 templates, and a member of a workspace');
}, 600_000);
