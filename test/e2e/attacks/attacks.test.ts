// Every attack of docs/security/attacks.md, one connection after the other, while an honest client
// calls on a connection of its own: each is cut with the right code, counted and logged by name,
// memory stays where it was, and the honest client notices nothing.

import { describe, expect, onTestFinished, test } from 'vitest';
import { attacks, run } from '../../support/attacks.js';
import { echoClient, grpc, say } from '../../support/echo-client.js';
import { eventually } from '../../support/eventually.js';
import { MIB } from '../../support/probes.js';
import {
  exchange,
  FrameType,
  PREFACE,
  RawPeer,
  type RawPeerOptions,
  Reset,
  rawFrame,
  Setting,
} from '../../support/raw-peer.js';
import { startServer, type TestServer } from '../../support/server.js';
import { http2Total, total } from '../../support/stats.js';

/** Connections of each attack. */
const ROUNDS = 4;

/** What resident memory may grow by while attacks of 1,000 streams run: the collector's slack. */
const MEMORY_MAX = 48 * MIB;

interface Honest {
  /** Resolves when a call that began after now has been answered. */
  answered(): Promise<void>;
  /** Ends the calls; rejects if one of them failed. */
  stop(): Promise<number>;
}

/** Unary calls one after another on one connection, each compared with what was sent. */
function honestClient(port: number): Honest {
  const client = echoClient(port);
  let over = false;
  let calls = 0;
  let waiters: { call: number; resolve: () => void; reject: (error: unknown) => void }[] = [];
  const lane = (async () => {
    try {
      while (!over) {
        const text = `honest ${calls}`;
        expect((await say(client, { text })).text).toBe(text);
        calls++;
        const ready = waiters.filter(({ call }) => call <= calls);
        waiters = waiters.filter(({ call }) => call > calls);
        for (const { resolve } of ready) resolve();
      }
    } catch (error) {
      for (const { reject } of waiters) reject(error);
      throw error;
    } finally {
      client.close();
    }
  })();
  lane.catch(() => {});
  return {
    answered: () =>
      Promise.race([
        new Promise<void>((resolve, reject) => waiters.push({ call: calls + 2, resolve, reject })),
        lane.then(() => undefined),
      ]),
    async stop() {
      over = true;
      await lane;
      return calls;
    },
  };
}

function attackedServer(limits: Record<string, number> = {}): Promise<TestServer> {
  return startServer({
    logLevel: 'warn',
    nodeArguments: ['--max-semi-space-size=4'],
    // Without strikes, the flood of PINGs itself is what is judged.
    limits,
    serve: { keepalive: { minTimeMs: 0 } },
  });
}

describe('an attacker is cut, and nobody else notices', () => {
  test.each(attacks.map((attack) => [attack.name, attack] as const))('%s', async (_, attack) => {
    const server = await attackedServer(
      attack.counter === 'refusedStreamFloods' ? { concurrentStreams: 10 } : {},
    );
    const honest = honestClient(server.port);
    await honest.answered();
    const start = await server.stats();
    // The first connection brings buffers to their size.
    await run(attack, server.port);
    const before = (await server.memory()).rss;
    for (let round = 1; round < ROUNDS; round++) {
      const answered = honest.answered();
      const peer = await run(attack, server.port);
      expect(peer.goAway).toMatchObject({ reason: attack.reason });
      expect(peer.goAway?.debug).toMatch(attack.message);
      await answered;
    }
    await honest.answered();
    const grown = (await server.memory()).rss - before;
    expect(grown).toBeLessThan(MEMORY_MAX);
    const stats = await server.stats();
    const name = 'connectionErrors';
    expect(http2Total(stats, attack.counter)).toBe(ROUNDS);
    expect(total(stats, name) - total(start, name)).toBe(ROUNDS);
    const line = await server.logMatching(attack.message);
    expect(JSON.stringify(line)).toMatch(
      attack.reason === Reset.ENHANCE_YOUR_CALM ? /ENHANCE_YOUR_CALM/ : /_ERROR|STREAM_CLOSED/,
    );
    expect(await honest.stop()).toBeGreaterThan(ROUNDS);
  });
});

describe('what is slow or silent holds little, and not for long', () => {
  async function attacker(server: TestServer, options?: RawPeerOptions): Promise<RawPeer> {
    const peer = await RawPeer.connect(server.port, options);
    onTestFinished(() => peer.close());
    return peer;
  }

  test('slowloris: half a preface, and a header block without an end', async () => {
    const server = await attackedServer({ handshakeTimeoutMs: 1000 });
    const honest = honestClient(server.port);
    await honest.answered();
    const block = await attacker(server);
    await block.ping();
    block.write(rawFrame(FrameType.HEADERS, 0, 1, Buffer.of(0x83)));
    await exchange(server.port, PREFACE.subarray(0, 10));
    expect((await block.goingAway()).reason).toBe(Reset.ENHANCE_YOUR_CALM);
    const stats = await server.stats();
    expect(http2Total(stats, 'handshakeTimeouts')).toBe(1);
    expect(http2Total(stats, 'headerBlockTimeouts')).toBe(1);
    await server.logMatching(/header block took too long/);
    await server.logMatching(/preface or SETTINGS took too long/);
    await honest.answered();
    await honest.stop();
  });

  test('windows that stay at zero hold what limits allow (CVE-2019-9517)', async () => {
    const server = await attackedServer({
      streamUnsentBytes: 64 * 1024,
      connectionUnsentBytes: 2 * MIB,
    });
    const honest = honestClient(server.port);
    await honest.answered();
    const start = await server.memory();
    const peer = await attacker(server, { settings: [[Setting.INITIAL_WINDOW_SIZE, 0]] });
    for (let count = 0; count < 500; count++) peer.request({ mode: 'flood' });
    await peer.ping();
    await honest.answered();
    const stats = await server.stats();
    expect(total(stats, 'unsentBytes')).toBeGreaterThan(MIB / 2);
    // A handler has one message of 16 KiB on its way and another staged when it learns to wait.
    expect(total(stats, 'unsentBytes')).toBeLessThan(2 * MIB + 500 * 2 * 17 * 1024);
    expect((await server.memory()).rss - start.rss).toBeLessThan(MEMORY_MAX);
    await peer.close();
    await eventually(
      'the memory is free',
      async () => total(await server.stats(), 'unsentBytes') === 0,
    );
    await honest.answered();
    await honest.stop();
  });

  test('resets are provoked and never read (CVE-2019-9514)', async () => {
    const server = await attackedServer();
    const honest = honestClient(server.port);
    await honest.answered();
    const peer = await attacker(server);
    peer.socket.pause();
    await eventually('it is cut', async () => {
      // No further then: who goes on writing may miss why.
      for (let count = 0; count < 100; count++) peer.request({ fields: [['UPPER', 'x']] });
      return http2Total(await server.stats(), 'madeYouResets') === 1;
    });
    await honest.answered();
    peer.socket.resume();
    expect((await peer.goingAway()).reason).toBe(Reset.ENHANCE_YOUR_CALM);
    await honest.stop();
  });
});

describe('what costs its own request alone', () => {
  test('too many header fields, and a :path without its slash (CVE-2026-33186)', async () => {
    const server = await attackedServer();
    const peer = await RawPeer.connect(server.port);
    onTestFinished(() => peer.close());
    const fields = Array.from({ length: 200 }, (_, index) => [`x-${index}`, ''] as const);
    const many = await peer.request({ fields, endStream: true }).end;
    expect(many.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
    expect(http2Total(await server.stats(), 'headerListsOversized')).toBe(1);
    for (const path of ['millrace.echo.v1.Echo/Say', '//Say', '/millrace.echo.v1.Echo/Say/']) {
      const end = await peer.request({ path, endStream: true }).end;
      expect([path, end.code]).toEqual([path, grpc.status.UNIMPLEMENTED]);
    }
    expect(total(await server.stats(), 'requestsRejected')).toBe(4);
    expect((await server.counters()).started).toBe(0);
    await peer.ping();
  });
});
