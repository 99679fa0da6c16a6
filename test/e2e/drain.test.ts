// Drain: a signal, or close(), lets every accepted call come to its end.

import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import {
  assertEchoed,
  chat,
  clientOf,
  failure,
  grpc,
  openChat,
  say,
} from '../support/echo-client.js';
import { echoFrame } from '../support/echo-wire.js';
import { eventually } from '../support/eventually.js';
import { Flag, FrameType, RawPeer, type RawPeerOptions, rawFrame } from '../support/raw-peer.js';
import { startEcho, startServer, type TestServer } from '../support/server.js';
import { total } from '../support/stats.js';

function isRefused(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', () => resolve(true));
  });
}

test.each([1, 2])(
  'SIGTERM under load, %i thread(s): no call that was accepted fails',
  async (threads) => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-drain-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const journal = join(folder, 'journal');
    const server = await startServer({ signals: true, journal, threads });
    const clients = Array.from({ length: 8 }, () => clientOf(server));

    const answered = new Set<string>();
    const failed: grpc.ServiceError[] = [];
    let loadEnough!: () => void;
    const warm = new Promise<void>((resolve) => {
      loadEnough = resolve;
    });
    const loops = clients.flatMap((client, number) =>
      Array.from({ length: 20 }, async (_, lane) => {
        for (let count = 0; ; count++) {
          const text = `${number}/${lane}/${count}`;
          try {
            await say(client, { text }, { mode: 'sleep:3' });
          } catch (error) {
            failed.push(error as grpc.ServiceError);
            return;
          }
          answered.add(text);
          if (answered.size === 2000) loadEnough();
        }
      }),
    );
    await warm;
    server.signal('SIGTERM');
    expect(await server.exited).toEqual({ code: 0, signal: null });
    await Promise.all(loops);

    // Who came after the drain was told so; everybody who came before got an answer.
    for (const { code, message } of failed) {
      expect({ code, message }).toEqual({ code: grpc.status.UNAVAILABLE, message });
    }
    const begun = readFileSync(journal, 'utf8').trim().split('\n');
    expect(begun.length).toBeGreaterThanOrEqual(2000);
    expect(begun.filter((text) => !answered.has(text))).toEqual([]);
  },
);

test('a stream that is open goes on until its client ends it', async () => {
  const server = await startServer({ signals: true });
  const client = clientOf(server);
  const calls = (['chat', 'chatFast'] as const).map((method) => openChat(client, method));
  const replies: string[][] = calls.map(() => []);
  const statuses = calls.map(
    (call, index) =>
      new Promise<grpc.StatusObject>((resolve) => {
        call.on('data', ({ text }) => replies[index]!.push(text));
        call.on('status', resolve);
      }),
  );
  for (const call of calls) call.write({ text: 'before' });
  await eventually('first replies', () => replies.every((texts) => texts.length === 1));
  server.signal('SIGTERM');
  await eventually('the port is closed', () => isRefused(server.port));
  for (const call of calls) {
    for (let count = 0; count < 100; count++) call.write({ text: `after ${count}` });
    call.end();
  }
  for (const status of await Promise.all(statuses)) expect(status.code).toBe(grpc.status.OK);
  for (const texts of replies) expect(texts.length).toBe(101);
  expect(await server.exited).toEqual({ code: 0, signal: null });
});

test('a client is told in two steps, and its last requests in flight are taken', async () => {
  const server = await startServer({ signals: true });
  const peer = await RawPeer.connect(server.port);
  onTestFinished(() => peer.close());
  const open = peer.request({});
  open.sendData(echoFrame({ text: 'x' }));
  await open.receivedMessages(1);
  server.signal('SIGTERM');
  const first = await peer.goingAway();
  expect(first).toMatchObject({ lastStream: 2 ** 31 - 1, reason: 0 });
  open.sendData(Buffer.alloc(0), true);
  expect((await open.end).code).toBe(0);
  await peer.closed;
  expect(peer.goAway).toMatchObject({ lastStream: open.id, reason: 0 });
  expect(await server.exited).toEqual({ code: 0, signal: null });
});

test('a client that takes its time to say that it knows is waited for, with what it asks until then', async () => {
  const server = await startServer({ signals: true });
  const peer = await RawPeer.connect(server.port, { answersPings: false });
  onTestFinished(() => peer.close());
  const early = peer.request({});
  early.sendData(echoFrame({ text: 'x' }));
  await early.receivedMessages(1);
  server.signal('SIGTERM');
  await peer.goingAway();
  // A busy client, or one with much to read before the GOAWAY.
  await delay(1600);
  const late = peer.request({});
  late.sendData(echoFrame({ text: 'y' }), true);
  expect((await late.end).code).toBe(0);
  early.sendData(Buffer.alloc(0), true);
  expect((await early.end).code).toBe(0);
  peer.write(rawFrame(FrameType.PING, Flag.ACK, 0, Buffer.from('draining')));
  await peer.closed;
  expect(peer.goAway).toMatchObject({ lastStream: late.id, reason: 0 });
  expect(await server.exited).toEqual({ code: 0, signal: null });
});

test('the example drains and exits with 0, with calls in flight and idle', async () => {
  const { process: echo, port } = await startEcho();
  const client = clientOf({ port });
  const data = Buffer.alloc(100_000, 1);
  const messages = Array.from({ length: 50 }, () => ({ text: '', data }));
  const running = chat(client, 'chat', messages);
  await say(client, {});
  echo.signal('SIGTERM');
  assertEchoed(await running, messages);
  expect(await echo.exited).toEqual({ code: 0, signal: null });

  const idle = await startEcho();
  idle.process.signal('SIGTERM');
  expect(await idle.process.exited).toEqual({ code: 0, signal: null });
});

test('a second signal exits at once and names the handlers that had not ended', async () => {
  const server = await startServer({ signals: true });
  const client = clientOf(server);
  const call = failure(say(client, { text: 'x' }, { mode: 'ignore' }));
  await eventually('the handler runs', async () => (await server.counters()).started === 1);
  server.signal('SIGTERM');
  await eventually('the port is closed', () => isRefused(server.port));
  server.signal('SIGTERM');
  const exit = await server.exited;
  expect(exit.signal).toBeNull();
  expect(exit.code).not.toBe(0);
  await server.log('the unfinished handler', (line) => JSON.stringify(line).includes('Echo/Say'));
  expect((await call).code).not.toBe(grpc.status.OK);
});

test('close() waits for calls, and may be called twice', async () => {
  const server = await startServer();
  const client = clientOf(server);
  const calls = Array.from({ length: 10 }, (_, index) =>
    say(client, { text: `${index}` }, { mode: 'gate' }),
  );
  await eventually('the handlers run', async () => (await server.counters()).started === 10);
  const closing = Promise.all([server.close(), server.close()]);
  await eventually('the port is closed', () => isRefused(server.port));
  // They end now, however long it took to see them run: only what ends in the drain is counted.
  await server.release();
  const [first, second] = await closing;
  expect(first).toEqual({ completed: 10, aborted: 0 });
  expect(second).toEqual(first);
  expect((await Promise.all(calls)).length).toBe(10);
});

/** A client that has asked for 2 MB in small calls; `behind` has them answered while it reads nothing. */
async function slowClient(server: TestServer, options: RawPeerOptions = {}) {
  const settings = [[4, 2 ** 31 - 1]] as const;
  const peer = await RawPeer.connect(server.port, { settings, keep: false, ...options });
  onTestFinished(() => peer.close());
  peer.creditConnectionFully();
  const streams = Array.from({ length: 40 }, () =>
    peer.request({ path: '/millrace.echo.v1.Echo/Say', mode: 'gate' }),
  );
  for (const stream of streams) await stream.send(echoFrame({ data: Buffer.alloc(50_000) }), true);
  await eventually('the handlers run', async () => (await server.counters()).started === 40);
  const behind = async () => {
    await peer.goingAway();
    await peer.ping();
    peer.socket.pause();
    await server.release();
    await eventually('the handlers are over', async () => (await server.counters()).ended === 40);
    await eventually(
      'the kernel has everything',
      () => server.stats(),
      (stats) => total(stats, 'unsentBytes') + total(stats, 'framedBytes') === 0,
    );
  };
  const codes = async () =>
    new Set(await Promise.all(streams.map(async (stream) => (await stream.end).code)));
  return { peer, behind, codes };
}

test('a client that is far behind reads everything, and says so, after the server has nothing left to send', async () => {
  const server = await startServer();
  const { peer, behind, codes } = await slowClient(server);
  const closing = server.close();
  await behind();
  // What it says of what it has read, and of what it still reads.
  for (let turn = 0; turn < 10; turn++) {
    peer.credit(0, 1);
    await delay(10);
  }
  peer.socket.resume();
  expect(await codes()).toEqual(new Set([0]));
  expect(await closing).toEqual({ completed: 40, aborted: 0 });
});

test('what a client has not read when the time for a drain is over arrives all the same', async () => {
  const server = await startServer({ serve: { drainTimeoutMs: 1000 } });
  const { peer, behind, codes } = await slowClient(server, { autoCredit: false });
  const closing = server.close();
  await behind();
  expect(await closing).toEqual({ completed: 40, aborted: 0 });
  peer.socket.resume();
  expect(await codes()).toEqual(new Set([0]));
});

test('a client that does not end its side is not waited for for ever', async () => {
  const server = await startServer();
  const peer = await RawPeer.connect(server.port);
  onTestFinished(() => peer.close());
  await peer.ping();
  // Without this, Node.js answers the server's end with its own.
  peer.socket.allowHalfOpen = true;
  const ended = once(peer.socket, 'end');
  const closing = server.close();
  await ended;
  expect(await closing).toEqual({ completed: 0, aborted: 0 });
});
