// Subscribers that never read, shortly: `npm run soak -- pubsub` is the same for minutes.

import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { patience } from '../support/patience.js';
import { runNode } from '../support/program.js';

const program = fileURLToPath(new URL('../dist/soak/soak/pubsub/main.js', import.meta.url));

test.each(['drop-oldest', 'drop-newest', 'disconnect', 'block'])(
  'slow subscribers under %s: bounded memory, and the others get everything',
  async (policy) => {
    const size = [
      '--minutes',
      '0.07',
      '--subscribers',
      '100',
      '--rate',
      '200',
      '--block-timeout',
      '2',
    ];
    // The driver is that of MILLRACE_DRIVER.
    const { code, output } = await runNode(program, '--policies', policy, ...size);
    expect(code, output).toBe(0);
    expect(output).toContain('soak passed: 0 wrong');
  },
  patience(120_000),
);
