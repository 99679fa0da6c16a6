// millrace/testing: what the guide shows (docs/guides/testing.md repeats these tests), and the rest.

import { readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import { type Context, Status, service } from 'millrace';
import { settled, slowConsumer, startTest } from 'millrace/testing';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { eventually } from '../support/eventually.js';
import { statusOf } from '../support/our-client.js';

/** What the handlers have done since the last call began. */
const seen = { produced: 0, consumed: 0, reasons: [] as unknown[] };
let started: () => void = () => {};

async function waitForEnd(ctx: Context): Promise<never> {
  started();
  return new Promise((_, reject) => {
    ctx.signal.addEventListener('abort', () => {
      seen.reasons.push(ctx.signal.reason);
      reject(ctx.signal.reason);
    });
  });
}

const echo = service(Echo, {
  async say({ text }, ctx) {
    if (text === 'wait') return waitForEnd(ctx);
    if (text === 'throw') throw new Error('the cause');
    return { text };
  },
  async collect(requests) {
    seen.consumed = 0;
    for await (const _ of requests) seen.consumed++;
    return { count: BigInt(seen.consumed) };
  },
  async *expand({ text, count }) {
    seen.produced = 0;
    for (let i = 0; i < count; i++) {
      seen.produced++;
      yield { text, data: new Uint8Array(1000) };
    }
  },
  async *chat(requests) {
    for await (const { text } of requests) yield { text };
  },
  async *chatFast() {},
});

/** Resolves when the handler that waits runs. */
function handlerStarts(): Promise<void> {
  seen.reasons = [];
  return new Promise((resolve) => {
    started = resolve;
  });
}

describe('the guide', () => {
  test('answers', async () => {
    await using t = await startTest({ services: [echo] });
    const client = t.client(Echo);
    expect(await client.say({ text: 'hello' })).toMatchObject({ text: 'hello' });
  });

  test('stops when the deadline has passed', async () => {
    await using t = await startTest({ services: [echo] });
    const running = handlerStarts();
    const call = t.client(Echo).say({ text: 'wait' }, { timeoutMs: 60_000 });
    await running;
    t.advance(60_000);
    await expect(call).rejects.toMatchObject({ code: Status.DEADLINE_EXCEEDED });
  });

  test('waits for a slow consumer', async () => {
    await using t = await startTest({ services: [echo] });
    const slow = slowConsumer(t.client(Echo).expand({ text: 'x', count: 100_000 }));
    await slow.read(3);
    const held = await settled(() => seen.produced);
    expect(held).toBeLessThan(10_000);
    await slow.read(held);
    expect(await settled(() => seen.produced)).toBeGreaterThan(held);
  });

  test('fails when the connection is cut, and recovers', async () => {
    await using t = await startTest({ services: [echo] });
    const link = await t.link();
    const client = link.client(Echo);
    const replies = client.expand({ text: 'x', count: 100_000 });
    await replies.next();
    link.cut();
    const rest = async () => {
      for await (const _ of replies);
    };
    await expect(rest()).rejects.toMatchObject({ code: Status.UNAVAILABLE });
    expect(await client.say({ text: 'again' }, { waitForReady: true })).toMatchObject({
      text: 'again',
    });
  });

  test('finishes after a pause of the network', async () => {
    await using t = await startTest({ services: [echo] });
    const link = await t.link();
    await link.client(Echo).say({ text: 'connected' });
    link.stall();
    const call = link.client(Echo).say({ text: 'late' });
    const first = await Promise.race([call, settled(() => 'nothing yet')]);
    expect(first).toBe('nothing yet');
    link.resume();
    expect(await call).toMatchObject({ text: 'late' });
  });

  test('repeats these tests', () => {
    const guide = readFileSync(new URL('../../docs/guides/testing.md', import.meta.url), 'utf8');
    const own = plain(readFileSync(new URL(import.meta.url), 'utf8'));
    const blocks = [...guide.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = '']) => code);
    expect(blocks.length).toBeGreaterThan(4);
    const tests = blocks.map((code) => code.slice(Math.max(code.indexOf('test('), 0)));
    for (const code of tests) expect(own).toContain(plain(code));
  });

  const plain = (code: string) => code.replaceAll(/^ +/gm, '');
});

describe('virtual time', () => {
  test('the handler hears why, and both sides agree', async () => {
    await using t = await startTest({ services: [echo] });
    const running = handlerStarts();
    const call = t.client(Echo).say({ text: 'wait' }, { timeoutMs: 3_600_000 });
    await running;
    t.advance(3_599_000);
    expect(await Promise.race([statusOf(call), settled(() => 'still running')])).toBe(
      'still running',
    );
    t.advance(1_000);
    expect((await statusOf(call)).code).toBe(Status.DEADLINE_EXCEEDED);
    await eventually(
      'the handler hears of it',
      async () => seen.reasons,
      (reasons) => reasons.length > 0,
    );
    expect(seen.reasons).toMatchObject([{ code: Status.DEADLINE_EXCEEDED }]);
  });

  test('a call that begins afterwards has all of its time', async () => {
    await using t = await startTest({ services: [echo] });
    const client = t.client(Echo);
    await client.say({ text: 'connect' });
    t.advance(3_600_000);
    expect(await client.say({ text: 'on time' }, { timeoutMs: 10_000 })).toMatchObject({
      text: 'on time',
    });
  });

  test('keepalive: a server that has gone silent is noticed', async () => {
    await using t = await startTest({
      services: [echo],
      connection: { keepalive: { timeMs: 60_000, timeoutMs: 20_000 } },
    });
    const link = await t.link();
    const running = handlerStarts();
    const call = statusOf(link.client(Echo).say({ text: 'wait' }));
    await running;
    link.stall();
    let ended: unknown;
    void call.then((status) => {
      ended = status;
    });
    // The PING is sent when the first time is over, and missed when the second is.
    await eventually(
      'the call ends',
      async () => {
        t.advance(10_000);
        return ended;
      },
      (status) => status !== undefined,
    );
    expect((await call).code).toBe(Status.UNAVAILABLE);
  });

  test('what is no time is refused', async () => {
    await using t = await startTest({ services: [echo] });
    expect(() => t.advance(-1)).toThrow('milliseconds');
    expect(() => t.advance(0.5)).toThrow('milliseconds');
  });
});

describe('together with fake timers', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test('they move what the engine does not: the back-off before connecting again', async () => {
    await using t = await startTest({
      services: [echo],
      connection: { backoff: { initialMs: 600_000, mostMs: 600_000 } },
    });
    const link = await t.link();
    await link.client(Echo).say({ text: 'connected' });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
    link.down();
    await eventually(
      'the connection is lost',
      async () => {
        // The first attempt comes at once.
        link.connection.connect();
        return link.connection.state;
      },
      (state) => state === 'transient-failure',
    );
    link.up();
    const call = link.client(Echo).say({ text: 'again' }, { waitForReady: true });
    vi.advanceTimersByTime(1_200_000);
    expect(await call).toMatchObject({ text: 'again' });
  });
});

describe('a slow consumer', () => {
  test('reads what it is told to, to the end', async () => {
    await using t = await startTest({ services: [echo] });
    const slow = slowConsumer(t.client(Echo).expand({ text: 'x', count: 10 }));
    expect((await slow.read(4)).length).toBe(4);
    expect(slow.count).toBe(4);
    expect((await slow.rest()).length).toBe(6);
    expect(await slow.read(1)).toEqual([]);
  });

  test('cancels', async () => {
    await using t = await startTest({ services: [echo] });
    const slow = slowConsumer(t.client(Echo).expand({ text: 'x', count: 100_000 }));
    await slow.read(1);
    slow.cancel();
    expect((await statusOf(slow.rest())).code).toBe(Status.CANCELLED);
  });
});

describe('a link', () => {
  test('down until it is up', async () => {
    await using t = await startTest({
      services: [echo],
      connection: { backoff: { initialMs: 10, mostMs: 10 } },
    });
    const link = await t.link();
    const client = link.client(Echo);
    await client.say({ text: 'connected' });
    expect(link.open).toBe(1);
    link.down();
    expect((await statusOf(client.say({ text: 'lost' }))).code).toBe(Status.UNAVAILABLE);
    link.up();
    expect(await client.say({ text: 'again' }, { waitForReady: true })).toMatchObject({
      text: 'again',
    });
    // What does not go through it was not disturbed.
    expect(await t.client(Echo).say({ text: 'direct' })).toMatchObject({ text: 'direct' });
  });

  test('delays, in order', async () => {
    await using t = await startTest({ services: [echo] });
    const link = await t.link();
    const client = link.client(Echo);
    await client.say({ text: 'connected' });
    link.delay(40);
    const start = performance.now();
    const texts = Array.from({ length: 20 }, (_, index) => ({ text: String(index) }));
    const replies: string[] = [];
    for await (const { text } of client.chat(texts)) {
      replies.push(text);
      // What is under way keeps its place before what is no longer delayed.
      link.delay(0);
    }
    expect(performance.now() - start).toBeGreaterThan(75);
    expect(replies).toEqual(texts.map(({ text }) => text));
  });

  test('a stalled one holds up the writer', async () => {
    await using t = await startTest({ services: [echo] });
    const link = await t.link();
    const client = link.client(Echo);
    await client.say({ text: 'connected' });
    link.stall();
    let written = 0;
    const data = new Uint8Array(16_384);
    const upload = client.collect(
      (function* () {
        for (; written < 5_000; written++) yield { data };
      })(),
    );
    expect(await settled(() => written)).toBeLessThan(1_000);
    link.resume();
    expect((await upload).count).toBe(5_000n);
  });
});

describe('the end', () => {
  test('cuts off what is under way, and frees the port', async () => {
    const t = await startTest({ services: [echo] });
    const running = handlerStarts();
    const call = statusOf(t.client(Echo).say({ text: 'wait' }));
    await running;
    const port = t.server.port;
    await Promise.all([t.close(), t.close()]);
    expect([Status.UNAVAILABLE, Status.CANCELLED]).toContain((await call).code);
    const refused = await new Promise((resolve) => {
      connectTcp(port, '127.0.0.1').once('error', resolve);
    });
    expect(refused).toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('the options are those of serve', async () => {
    const wrong = startTest({ services: [echo], limits: { noSuchLimit: 1 } } as never);
    await expect(wrong).rejects.toMatchObject({ code: 'MILLRACE_OPTION_INVALID' });
  });
});

test('what a handler throws is logged, and nothing else is', async () => {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  let lines: string[];
  try {
    await using t = await startTest({ services: [echo] });
    expect((await statusOf(t.client(Echo).say({ text: 'throw' }))).code).toBe(Status.INTERNAL);
    lines = write.mock.calls.map(([text]) => String(text));
  } finally {
    write.mockRestore();
  }
  expect(lines.length).toBe(1);
  expect(JSON.parse(lines[0] as string)).toMatchObject({
    level: 50,
    err: { message: 'the cause' },
  });
});
