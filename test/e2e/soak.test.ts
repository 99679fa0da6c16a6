// A short soak: `npm run soak` is the same for minutes.

import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { patience } from '../support/patience.js';
import { runNode } from '../support/program.js';

const program = fileURLToPath(new URL('../dist/soak/soak/main.js', import.meta.url));

test.each([
  ['in the clear', []],
  ['with TLS', ['--tls']],
])(
  'calls of all kinds while servers are restarted and killed, %s',
  async (_how, more) => {
    // The driver is that of MILLRACE_DRIVER.
    const { code, output } = await runNode('--expose-gc', program, '--minutes', '0.2', ...more);
    expect(code, output).toBe(0);
    expect(output).toMatch(/soak passed: \d{3,} calls .* 0 wrong/);
  },
  patience(120_000),
);
