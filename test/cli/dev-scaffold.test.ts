// The first minutes with `millrace dev`: a project as `millrace new` makes it, with two threads, is
// added to and edited while it runs, and nobody's call fails.

import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, connection } from 'millrace';
import { expect, test } from 'vitest';
import { millrace } from '../support/cli.js';
import { dev } from '../support/dev.js';
import { eventually } from '../support/eventually.js';
import { linkPackages, project } from '../support/project.js';

const RESTARTS = 20;

/** Calls of unary methods by name, whatever the contract. */
type AnyClient = Record<string, (request: object) => Promise<Record<string, unknown>>>;

test('add service, add method and edits are served, and no call fails across 20 restarts', async () => {
  const above = project({});
  const made = await millrace(['new', 'my-app', '--no-install'], { cwd: above });
  expect(made).toMatchObject({ code: 0, stderr: '' });
  const cwd = join(above, 'my-app');
  linkPackages(cwd, 'millrace', '@millrace/health', '@millrace/reflection', 'zod', 'rolldown');
  writeFileSync(join(cwd, '.env'), 'THREADS=2\n');
  const { child, target, output, says } = await dev(cwd, '--stats', '0.2');
  await says(/listening .*threads=2/);
  await says(/^started in/m);
  const restarts = () => output.stdout.match(/^restarted in/gm)?.length ?? 0;

  const client = async (module: string, name: string, via = connection(target)) => {
    const exported = (await import(join(cwd, 'src/gen', module))) as Record<string, never>;
    return {
      client: connect(exported[name]!, via) as unknown as AnyClient,
      close: () => via.close(),
    };
  };
  const staying = await client('greeter/v1/greeter.ts', 'Greeter');
  const greeted = { last: '', calls: 0 };
  let over = false;
  const loop = (async () => {
    while (!over) {
      // A client that stays, and one that connects each time.
      greeted.last = String((await staying.client['greet']!({ name: 'Ada' }))['text']);
      const passing = await client('greeter/v1/greeter.ts', 'Greeter');
      await passing.client['greet']!({ name: 'Grace' });
      await passing.close();
      greeted.calls++;
      // What is measured needs the processor, too.
      await delay(5);
    }
  })();
  /** Milliseconds from a change until it is seen, unless a call fails before. */
  const served = async (what: string, seen: () => Promise<boolean> | boolean): Promise<number> => {
    const changedAt = performance.now();
    await Promise.race([loop, eventually(what, seen, Boolean, 30_000)]);
    return performance.now() - changedAt;
  };
  /** Whether a method of the service that is added is there. */
  const answers = (method: string) => async () => {
    const orders = await client('orders/v1/orders.ts', 'Orders');
    try {
      await orders.client[method]!({});
      return true;
    } catch (error) {
      if ((error as { code?: unknown }).code === 12) return false;
      throw error;
    } finally {
      await orders.close();
    }
  };

  expect(await millrace(['add', 'service', 'Orders'], { cwd })).toMatchObject({ code: 0 });
  const service = await served('Orders.Get answers', answers('get'));
  // It is said when the program before it has gone, which may be after the first answer.
  await says(/^restarted in/m);
  const beforeMethod = restarts();
  expect(await millrace(['add', 'method', 'Orders.Count'], { cwd })).toMatchObject({ code: 0 });
  const method = await served('it is restarted', () => restarts() > beforeMethod);
  const listed = await millrace(['call', target, 'orders.v1.Orders/Count', '{}'], { cwd });
  expect(listed).toMatchObject({ code: 0, stderr: '' });

  const handler = join(cwd, 'src/services/greeter.ts');
  const source = readFileSync(handler, 'utf8');
  const edits: number[] = [];
  while (restarts() < RESTARTS) {
    const greeting = `Greeting ${edits.length}, `;
    writeFileSync(handler, source.replace('Hello, ', greeting));
    edits.push(await served(greeting, () => greeted.last.startsWith(greeting)));
  }
  await says(/ stats .* calls\/s, 0 failed; .* MB$/m);
  over = true;
  await loop;
  await staying.close();
  edits.sort((a, b) => a - b);
  const round = Math.round;
  console.log(
    `${greeted.calls * 2} calls, none failed; seen after: add service ${round(service)} ms, add method ${round(method)} ms, ${edits.length} edits ${round(edits[edits.length >> 1]!)} ms (median), ${round(edits.at(-1)!)} ms (longest)`,
  );
  child.kill('SIGTERM');
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(output.stderr).toBe('');
}, 180_000);
