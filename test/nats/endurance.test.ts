// At least once, the short form: `npm run endurance` is the same with a million events.

import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { natsServerInstalled } from '../support/nats-server.js';
import { runNode } from '../support/program.js';

const program = fileURLToPath(new URL('../dist/endurance/endurance/main.js', import.meta.url));
const installed = natsServerInstalled('at least once while processes are killed');

test.skipIf(!installed)(
  'every acknowledged event is acknowledged by a consumer, while consumers, servers and NATS are killed',
  async () => {
    const { code, output } = await runNode(program, '--events', '20000', '--kills', '9');
    expect(code, output).toBe(0);
    expect(output).toMatch(/endurance passed: 20000 events published .* 9 kills; .* 0 wrong/);
  },
  180_000,
);
