// A → relay → C, each a process: one end is killed in the middle of streams, the other hears of it, and the
// relay keeps nothing.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Status } from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { ourClient, statusOf } from '../support/our-client.js';
import { startServer, type TestServer } from '../support/server.js';
import { gauges, type Stats } from '../support/stats.js';

async function startChain(): Promise<{ last: TestServer; relay: TestServer }> {
  const last = await startServer();
  const relay = await startServer({ forwardTo: { target: `127.0.0.1:${last.port}` } });
  // What is made with the first call is there before anything is counted.
  await ourClient(relay.port).say({});
  return { last, relay };
}

/** What the relay holds, of its own calls and of those it makes for them. */
async function held(relay: TestServer) {
  const { callsUnderWay, callsWaiting, bufferedBytes, engine } = await relay.forwarding();
  const { activeCalls, waitingMessages, overflowBytes, unsentBytes, sendChunks, ringHeld } =
    engine as Record<string, number>;
  const own = gauges(await relay.stats());
  return {
    // The windows of connections, which come and go with A, are no bytes that are held.
    own: { ...own, connections: 0, extraWindowBytes: 0, bufferedBytes: own.overflowBytes },
    calls: { callsUnderWay, callsWaiting, bufferedBytes, activeCalls },
    bytes: { waitingMessages, overflowBytes, unsentBytes, sendChunks, ringHeld },
  };
}

/** What it holds once what it said to C at first, SETTINGS and their acknowledgement, has left. */
function atRest(relay: TestServer) {
  return eventually(
    'nothing is on its way',
    () => held(relay),
    ({ bytes }) => bytes.sendChunks === 0 && bytes.unsentBytes === 0,
  );
}

async function isBackAt(relay: TestServer, start: Awaited<ReturnType<typeof held>>) {
  const expected = JSON.stringify(start);
  await eventually(
    `the relay holds ${expected}`,
    () => held(relay),
    (now) => JSON.stringify(now) === expected,
  );
  const { threads } = (await relay.stats()) as Stats;
  expect([threads[0]!['handlersRunning'], threads[0]!['leakedRegions']]).toEqual([0, 0]);
}

async function* endless() {
  const data = new Uint8Array(10_000).fill(1);
  for (;;) yield { data };
}

test('C is killed: A hears UNAVAILABLE with the cause, and the relay goes on with a new one', async () => {
  const { last, relay } = await startChain();
  const start = await atRest(relay);
  const client = ourClient(relay.port);

  // One stream of each kind in the middle, and one whose messages pile up on the way to A.
  const chat = client.chat(endless());
  const unread = client.expand({}, { metadata: { mode: 'flood' } });
  const upload = client.collect(endless());
  const never = client.say({}, { metadata: { mode: 'never-ends' } });
  await chat.next();
  await unread.next();
  const ends = [
    statusOf(
      (async () => {
        for await (const _ of chat);
      })(),
    ),
    statusOf(upload),
    statusOf(never),
  ];
  await eventually(
    'all of them at C',
    () => last.counters(),
    ({ started, consumed }) => started === 5 && consumed > 100,
  );
  last.signal('SIGKILL');
  await last.exited;
  for (const error of await Promise.all(ends)) {
    expect(error).toMatchObject({ code: Status.UNAVAILABLE });
    expect(error.message).toContain(`at 127.0.0.1:${last.port}: `);
  }
  // What had arrived at A is read before the end is.
  const error = await statusOf(
    (async () => {
      for await (const { data } of unread) expect(data.length).toBe(16_384);
    })(),
  );
  expect(error.code).toBe(Status.UNAVAILABLE);
  await isBackAt(relay, start);

  // The relay looks for C again when it is asked to.
  const again = await startServer({ serve: { port: last.port } });
  await eventually('a new C', async () => {
    const reply = await client.say({ text: 'there again' }).catch(() => undefined);
    return reply?.text === 'there again';
  });
  await again.close();
});

/** A in a process of its own, with streams of all kinds under way. */
async function startCaller(port: number): Promise<ChildProcess> {
  const file = fileURLToPath(new URL('../dist/server/caller.js', import.meta.url));
  const child = fork(file, [String(port)]);
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child, 'message');
  return child;
}

test('A is killed: C is told CANCELLED by the relay, which keeps nothing', async () => {
  const { last, relay } = await startChain();
  const [start, begun] = [await atRest(relay), await last.counters()];
  const caller = await startCaller(relay.port);
  await eventually(
    'all of them at C',
    () => last.counters(),
    ({ started }) => started === begun.started + 4,
  );
  caller.kill('SIGKILL');
  await once(caller, 'exit');
  const counters = await eventually(
    'the ends of all of them',
    () => last.counters(),
    ({ started, ended }) => started === ended,
  );
  expect(counters).toMatchObject({ aborted: 4, endedBeforeAbort: 0, truncated: 0 });
  expect(Object.keys(counters.reasons)).toEqual([String(Status.CANCELLED)]);
  await isBackAt(relay, start);
});
