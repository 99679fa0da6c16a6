import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { describe, expect, onTestFinished, test } from 'vitest';
import { leakedEngines, NativeEngine, type NativeOptions } from '../index.js';
import { currentTarget } from '../target.js';
import { client } from './fixtures/client.mjs';
import { echo } from './fixtures/echo.mjs';

const callbacks = { onBatch() {}, onRegion() {}, onNotice() {} };
const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
const node = (...args: string[]) =>
  promisify(execFile)(process.execPath, args, { timeout: 30_000 }).catch((failure) => failure);

/** What a call throws, by code and message. */
function thrownBy(body: () => unknown) {
  try {
    body();
  } catch (failure) {
    return failure as Error & { code: string };
  }
  throw new Error('nothing was thrown');
}

function serve(...args: Parameters<typeof echo>) {
  const server = echo(...args);
  const peer = client(server.port);
  onTestFinished(() => {
    peer.close();
    server.engine.close();
  });
  return { ...server, peer };
}

describe('an engine', () => {
  test('names its driver and shows its memory', () => {
    const engine = new NativeEngine({}, callbacks);
    expect(['bundle', 'ring', 'classic', 'portable']).toContain(engine.driver);
    expect(engine.driverReason).not.toBe('');
    const views = engine.views();
    expect(engine.views()).toBe(views);
    for (const buffer of Object.values(views)) expect(buffer.byteLength).toBeGreaterThan(0);
    engine.close();
    for (const buffer of Object.values(views)) expect(buffer.byteLength).toBe(0);
  });

  test.each(['portable', undefined])('echoes what a client sends (driver %s)', async (driver) => {
    const { peer } = serve(driver === undefined ? {} : { driver });
    const messages = [0, 1, 1000, 100_000, 1_000_000].map((length) => randomBytes(length));
    const replies = await Promise.all(messages.map((message) => peer.call(message)));
    expect(replies.map((reply, i) => reply.equals(messages[i]!))).toEqual(messages.map(() => true));
  });

  test('is made and closed a hundred times without keeping a descriptor', async () => {
    // Elsewhere than on Linux this counts nothing, and the test is of the hundred times alone.
    const open = () => (process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0);
    new NativeEngine({}, callbacks).close();
    await turn();
    const before = open();
    for (let i = 0; i < 100; i++) {
      const engine = new NativeEngine({}, callbacks);
      engine.listen('127.0.0.1', 0, false, 16);
      engine.close();
      engine.close();
    }
    await turn();
    expect(open()).toBeLessThan(before + 10);
    expect(leakedEngines()).toBe(0);
  });

  test('ends after the batch when it is closed inside', async () => {
    let lengthInside = 0;
    const { engine, views, peer } = serve(
      {},
      {
        onBatch() {
          engine.close();
          lengthInside = views.arena.byteLength;
        },
      },
    );
    await expect(peer.call(Buffer.from('x'))).rejects.toThrow();
    expect(lengthInside).toBeGreaterThan(0);
    expect(views.arena.byteLength).toBe(0);
  });

  test('drains: no new connection, and a notice when the last has gone', async () => {
    const notices = new EventEmitter();
    const { engine, peer, port } = serve(
      {},
      { onNotice: (json) => notices.emit(JSON.parse(json).event) },
    );
    const drained = once(notices, 'drained');
    await peer.call(Buffer.from('x'));
    engine.drain();
    await once(peer.session, 'close');
    await drained;
    await expect(client(port).call(Buffer.from('y'))).rejects.toThrow('ECONNREFUSED');
  });

  test('serves between the other work of its loop', async () => {
    const { peer } = serve();
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    onTestFinished(() => clearInterval(timer));
    const message = randomBytes(64);
    // A loop that the engine holds for itself never gets there.
    while (ticks < 20) {
      await Promise.all(Array.from({ length: 50 }, () => peer.call(message)));
    }
  });
});

describe('misuse', () => {
  test.each<[NativeOptions, string, string]>([
    [{ nope: 1 }, 'MILLRACE_OPTION_INVALID', 'there is no option nope'],
    [{ driver: 'floppy' }, 'MILLRACE_OPTION_INVALID', 'floppy'],
    [{ ringBuffers: 1.5 }, 'MILLRACE_OPTION_INVALID', 'ringBuffers is 1.5'],
    [{ ringBuffers: 2 ** 20 }, 'MILLRACE_OPTION_INVALID', 'from 0 to 65535'],
    [{ ringBuffers: 'many' }, 'MILLRACE_OPTION_INVALID', 'ringBuffers has to be a number'],
    [{ ringBuffers: 17 }, 'MILLRACE_LIMITS', 'power of two'],
  ])('options %j: %s', (options, code, message) => {
    const failure = thrownBy(() => new NativeEngine(options, callbacks));
    expect(failure.code).toBe(code);
    expect(failure.message).toContain(message);
  });

  test('a callback that is none is named', () => {
    const failure = thrownBy(() => new NativeEngine({}, { ...callbacks, onBatch: 1 } as never));
    expect(failure).toMatchObject({ code: 'MILLRACE_OPTION_INVALID' });
    expect(failure.message).toContain('onBatch');
  });

  test('an address that cannot be listened on is an error with a code', () => {
    const { engine, port } = serve();
    expect(thrownBy(() => engine.listen('127.0.0.1', port, false, 16)).code).toMatch(/^MILLRACE_/);
    expect(thrownBy(() => engine.listen('127.0.0.1', 65_536, false, 16)).message).toContain(
      '65535',
    );
    expect(thrownBy(() => engine.register([{ path: '/a/b', kind: 4 }])).code).toBe(
      'MILLRACE_OPTION_INVALID',
    );
  });

  test('after close: nothing for handlers that outlive it, an error for the rest', async () => {
    const { engine, peer } = serve();
    await peer.call(Buffer.from('x'));
    engine.close();
    engine.flush();
    engine.drain();
    engine.sendLarge(1, new Uint8Array(8));
    expect(engine.metadata(1)).toBeNull();
    expect(engine.peer(1)).toBeNull();
    expect(JSON.parse(engine.stats())).toMatchObject({ driver: engine.driver, activeCalls: 0 });
    expect(thrownBy(() => engine.views()).code).toBe('MILLRACE_ENGINE_CLOSED');
    expect(thrownBy(() => engine.listen('127.0.0.1', 0, false, 1)).code).toBe(
      'MILLRACE_ENGINE_CLOSED',
    );
    expect(thrownBy(() => engine.register([])).code).toBe('MILLRACE_ENGINE_CLOSED');
  });
});

describe('the end of', () => {
  test('a worker under load is survived', async () => {
    for (let round = 0; round < 20; round++) {
      const worker = new Worker(fixture('worker.mjs'), { workerData: {} });
      const [port] = await once(worker, 'message');
      const peer = client(port);
      const message = randomBytes(4096);
      let replies = 0;
      const load = Promise.allSettled(
        Array.from({ length: 32 }, async () => {
          for (;;) {
            await peer.call(message);
            replies++;
          }
        }),
      );
      while (replies < 50 + 20 * round) await turn();
      await worker.terminate();
      await load;
      peer.close();
    }
    expect(leakedEngines()).toBe(0);
  });

  test('a process comes by itself when no engine listens', async () => {
    expect(await node(fixture('idle.mjs'))).toMatchObject({ stderr: '' });
  });

  test('a process comes inside a batch', async () => {
    expect(await node(fixture('exit.mjs'))).toMatchObject({ code: 7, stderr: '' });
  });

  test('a closed engine leaves nothing to the garbage collector', async () => {
    const { stdout } = await node('--expose-gc', fixture('garbage.mjs'));
    const { alive, arrayBuffers } = JSON.parse(stdout);
    expect(alive).toBeLessThanOrEqual(2);
    // An engine's views are over 20 MiB; not even those of one are left.
    expect(arrayBuffers).toBeLessThan(16 * 2 ** 20);
  });

  test('a batch by an exception is reported, and the engine serves on', async () => {
    const { stdout, stderr } = await node(fixture('throws.mjs'));
    expect(stderr).toBe('');
    expect(stdout.split('\n').sort()).toEqual(['', 'served', 'tick', 'uncaught from onBatch']);
  });
});

test('the platform is the one that the report of Node.js says', () => {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  const ends = process.platform !== 'linux' || header.glibcVersionRuntime ? /(?<!musl)$/ : /-musl$/;
  expect(currentTarget()).toMatch(ends);
  expect(currentTarget()).toContain(`${process.platform}-${process.arch}`);
});

test('the loader names what it tried, why that failed, and the remedy', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-native-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const name of ['index.js', 'load.js', 'target.js', 'package.json']) {
    cpSync(fileURLToPath(new URL(`../${name}`, import.meta.url)), join(folder, name));
  }
  const url = pathToFileURL(join(folder, 'index.js')).href;
  const load = () => node('--input-type=module', '--eval', `await import('${url}')`);
  const target = currentTarget();

  const missing = await load();
  expect(missing.stderr).toContain(`package @millrace/native-${target}: Cannot find module`);
  expect(missing.stderr).toContain(`millrace.${target}.node: Cannot find module`);
  expect(missing.stderr).toContain('npm run build -w native');
  expect(missing.stderr).toContain("code: 'MILLRACE_NATIVE_NOT_LOADED'");

  // The true cause of a file that is there and does not load.
  writeFileSync(join(folder, `millrace.${target}.node`), 'no shared library');
  expect((await load()).stderr).toContain('file too short');
});
