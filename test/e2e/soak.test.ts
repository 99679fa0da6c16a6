// A short soak: `npm run soak` is the same for minutes.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const program = fileURLToPath(new URL('../dist/soak/soak/main.js', import.meta.url));

test.each([
  ['in the clear', []],
  ['with TLS', ['--tls']],
])(
  'calls of all kinds while servers are restarted and killed, %s',
  async (_how, more) => {
    // The driver is that of MILLRACE_DRIVER.
    const child = spawn(process.execPath, ['--expose-gc', program, '--minutes', '0.2', ...more], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    const [code] = await once(child, 'close');
    expect(code, output).toBe(0);
    expect(output).toMatch(/soak passed: \d{3,} calls .* 0 wrong/);
  },
  120_000,
);
