// Ends without warning: a worker that is terminated, a process that exits inside a handler, a
// server that is closed and collected. None may crash, and none may leak.

import { expect, test } from 'vitest';
import { clientOf, failure, grpc, openChat, say } from '../support/echo-client.js';
import { eventually } from '../support/eventually.js';
import { patience } from '../support/patience.js';
import { MIB } from '../support/probes.js';
import { seedForTest } from '../support/seed.js';
import { runScript, startServer } from '../support/server.js';

const ROUNDS = 200;

test(`worker.terminate() mid-batch, ${ROUNDS} times`, { timeout: patience(120_000) }, async () => {
  const seed = seedForTest();
  const { exit, process } = await runScript('teardown.js', [String(ROUNDS), String(seed)]);
  expect([exit, process.stderr]).toEqual([{ code: 0, signal: null }, []]);
  const done = process.logs.find(({ msg }) => msg === 'done');
  expect(done).toMatchObject({ rounds: ROUNDS });
  expect(Number(done?.['received'])).toBeGreaterThan(ROUNDS * 1000);
  expect(Number(done?.['after'])).toBeLessThanOrEqual(Number(done?.['before']));
});

test('process.exit() inside a handler, with other calls running', async () => {
  for (const threads of [1, 2]) {
    const server = await startServer({ threads });
    const client = clientOf(server);
    const others = Array.from({ length: 20 }, () => {
      const call = openChat(client, 'chat');
      call.on('data', () => call.write({ text: 'again' }));
      call.write({ text: 'x' });
      return call;
    });
    await new Promise((resolve) => others[0]!.once('data', resolve));
    const error = await failure(say(client, {}, { mode: 'exit:7' }));
    expect(error.code).toBe(grpc.status.UNAVAILABLE);
    client.close();
    if (threads === 1) {
      expect(await server.exited).toEqual({ code: 7, signal: null });
    } else {
      // In a worker, process.exit() ends the worker: the server replaces it and goes on.
      await server.log('the dead thread', ({ level }) => level >= 50);
      await eventually(
        'two threads serve',
        () => server.stats(),
        (stats) => stats.threads.length === 2,
      );
      const next = clientOf(server);
      expect((await say(next, { text: 'next' })).text).toBe('next');
    }
  }
});

test('garbage collection after close()', async () => {
  const { exit, process } = await runScript('collect-garbage.js');
  expect([exit, process.stderr]).toEqual([{ code: 0, signal: null }, []]);
  const done = process.logs.find(({ msg }) => msg === 'done') as
    | { before: Usage; after: Usage }
    | undefined;
  expect(done).toBeDefined();
  const { before, after } = done!;
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
  // Each server maps more than 4 MiB for its arena alone: 20 of them would show.
  expect(after.mapped - before.mapped).toBeLessThan(40 * MIB);
});

interface Usage {
  readonly descriptors: number;
  readonly mapped: number;
}
