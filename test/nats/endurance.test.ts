// At least once, the short form: `npm run endurance` is the same with a million events.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { natsServerInstalled } from '../support/nats-server.js';

const program = fileURLToPath(new URL('../dist/endurance/endurance/main.js', import.meta.url));
const installed = natsServerInstalled('at least once while processes are killed');

test.skipIf(!installed)(
  'every acknowledged event is acknowledged by a consumer, while consumers, servers and NATS are killed',
  async () => {
    const child = spawn(process.execPath, [program, '--events', '20000', '--kills', '9'], {
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
    expect(output).toMatch(/endurance passed: 20000 events published .* 9 kills; .* 0 wrong/);
  },
  180_000,
);
