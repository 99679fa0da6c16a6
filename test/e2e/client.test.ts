// Our client against our server and against grpc-js's: the same promises of all four kinds.

import * as grpc from '@grpc/grpc-js';
import { Metadata, Status, StatusError } from 'millrace';
import { settled } from 'millrace/testing';
import { describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { honest, startForeign } from '../support/foreign-server.js';
import { all, ourClient, ourConnection, statusOf, take } from '../support/our-client.js';
import { patience } from '../support/patience.js';
import { startServer } from '../support/server.js';
import { total } from '../support/stats.js';

const servers: [string, () => Promise<{ port: number }>][] = [
  ['ours', () => startServer()],
  ['grpc-js', () => startForeign(honest)],
];

describe.each(servers)('against a server of %s', (_whose, start) => {
  test('unary, many at a time', async () => {
    const { port } = await start();
    const client = ourClient(port);
    const replies = await Promise.all(
      Array.from({ length: 300 }, (_, index) => client.say({ text: `n ${index}` })),
    );
    expect(replies.map(({ text }) => text)).toEqual(
      Array.from({ length: 300 }, (_, index) => `n ${index}`),
    );
  });

  test('server-streaming, client-streaming and bidi', async () => {
    const { port } = await start();
    const client = ourClient(port);
    const replies = await all(client.expand({ count: 500, text: 'again' }));
    expect(replies.length).toBe(500);
    expect(replies.at(-1)?.text).toBe('again');

    const data = new Uint8Array(1000);
    expect(await client.collect(Array.from({ length: 700 }, () => ({ data })))).toMatchObject({
      count: 700n,
      bytes: 700_000n,
    });

    async function* requests() {
      for (let index = 0; index < 2000; index++) yield { text: String(index) };
    }
    const echoed = await all(client.chat(requests()));
    expect(echoed.map(({ text }) => text)).toEqual(
      Array.from({ length: 2000 }, (_, index) => String(index)),
    );
  });

  test('call objects: one message at a time, both ways', async () => {
    const { port } = await start();
    const client = ourClient(port);
    const chat = client.chat();
    for (const text of ['a', 'b', 'c']) {
      expect(chat.write({ text })).toBe(true);
      expect((await chat.next()).value?.text).toBe(text);
    }
    chat.end();
    expect((await chat.next()).done).toBe(true);
    expect(() => chat.write({ text: 'late' })).not.toThrow();

    const upload = client.collect();
    upload.write({ data: new Uint8Array(3) });
    upload.end();
    expect(() => upload.write({})).toThrow('MILLRACE_WRITE_AFTER_END');
    expect(await upload.response).toMatchObject({ count: 1n, bytes: 3n });
  });

  test('messages larger than the arena and every window', async () => {
    const { port } = await start();
    const client = ourClient(port);
    const data = new Uint8Array(3_500_000).fill(7);
    const reply = await client.say({ data });
    expect(Buffer.compare(reply.data, data)).toBe(0);
    const chat = client.chat();
    const reading = all(chat);
    if (!chat.write({ data })) await chat.writable();
    chat.write({ text: 'small' });
    chat.end();
    expect((await reading).map((one) => one.data.length)).toEqual([data.length, 0]);
  });

  test('cancellation by signal, and by leaving the loop', async () => {
    const { port } = await start();
    const { client, connection } = ourConnection(port);
    const abort = new AbortController();
    const chat = client.chat(undefined, { signal: abort.signal });
    chat.write({ text: 'here' });
    await chat.next();
    abort.abort(new Error('changed my mind'));
    const error = await statusOf(chat.next());
    expect(error.code).toBe(Status.CANCELLED);
    expect(error.message).toMatch(/\/millrace\.echo\.v1\.Echo\/Chat at 127.*changed my mind/);

    const [reply] = await take(client.expand({ count: 100_000, text: 'x'.repeat(100) }), 1);
    expect(reply?.text.length).toBe(100);
    await eventually(
      'no call',
      () => connection.stats().callsUnderWay,
      (count) => count === 0,
    );
  });

  test('an aborted signal makes no call', async () => {
    const { port } = await start();
    const client = ourClient(port);
    const error = await statusOf(client.say({}, { signal: AbortSignal.abort() }));
    expect(error.code).toBe(Status.CANCELLED);
  });

  test('an illegal message is refused on this side', async () => {
    const { port } = await start();
    const client = ourClient(port);
    await expect(client.say({ text: 7 as never })).rejects.toMatchObject({
      code: 'MILLRACE_ENCODE',
    });
    expect((await client.say({ text: 'still there' })).text).toBe('still there');
  });
});

test('headers, trailers, metadata of both forms, status messages and details', async () => {
  const { port } = await startServer();
  const client = ourClient(port);
  const call = client.say(
    {},
    { metadata: { mode: 'metadata', 'x-echo': 'sent', 'x-echo-bin': new Uint8Array([1, 0, 255]) } },
  );
  expect((await call.headers).get('x-echo')).toBe('sent');
  expect([...((await call.headers).get('x-echo-bin') ?? [])]).toEqual([1, 0, 255]);
  expect((await call.trailers).get('x-peer')).toMatch(/^127/);

  const failed = client.expand({ count: 2, text: 'x' }, { metadata: { mode: 'status:9' } });
  const seen: string[] = [];
  const error = await statusOf(
    (async () => {
      for await (const { text } of failed) seen.push(text);
    })(),
  );
  expect(seen).toEqual(['x', 'x']);
  expect(error).toMatchObject({ code: Status.FAILED_PRECONDITION, message: 'größer – 100 %\n' });
  expect(error.metadata.get('x-trailer')).toBe('set');
  expect((await failed.trailers).get('x-trailer')).toBe('set');
});

test('metadata to and from grpc-js', async () => {
  const { port } = await startForeign(honest);
  const client = ourClient(port);
  const call = client.say({ text: 'x' }, { metadata: { 'x-sent': 'yes' } });
  await call;
  expect((await call.headers).get('x-seen')).toBe('yes');
  expect([...((await call.trailers).get('x-trailer-bin') ?? [])]).toEqual([0, 255]);
});

test.each([
  ['an illegal name', { 'x y': '1' }],
  ['a reserved name', { 'grpc-timeout': '1S' }],
  ['an illegal value', { x: 'größer' }],
])('metadata with %s is refused before anything is sent', async (_what, metadata) => {
  const { port } = await startServer();
  const client = ourClient(port);
  const error = await statusOf(client.say({}, { metadata }));
  expect(error.code).toBe(Status.INTERNAL);
  expect(error.message).toMatch(/Echo\/Say at 127\.0\.0\.1:.*MILLRACE_METADATA_INVALID/);
});

test('deadlines: timeoutMs, deadline and the parent call', async () => {
  const server = await startServer();
  const client = ourClient(server.port);
  const mode = { mode: 'never-ends' };
  const spellings = [() => ({ timeoutMs: 80 }), () => ({ deadline: new Date(Date.now() + 80) })];
  for (const options of spellings) {
    const began = performance.now();
    const error = await statusOf(client.say({}, { ...options(), metadata: mode }));
    expect(error.code).toBe(Status.DEADLINE_EXCEEDED);
    expect(error.message).toContain('/millrace.echo.v1.Echo/Say at 127.0.0.1');
    expect(performance.now() - began).toBeGreaterThan(70);
  }
  expect((await statusOf(client.say({}, { timeoutMs: 0 }))).code).toBe(Status.DEADLINE_EXCEEDED);
  const abort = new AbortController();
  const parent = { deadline: new Date(Date.now() + 60_000), signal: abort.signal } as never;
  const reply = await client.say({}, { parent, metadata: { mode: 'metadata' } });
  expect(new Date(reply.text).getTime()).toBeLessThan(Date.now() + 61_000);
  const before = await server.counters();
  const child = client.say({}, { parent, metadata: mode });
  await eventually(
    'the call',
    () => server.counters(),
    ({ started }) => started > before.started,
  );
  abort.abort(new StatusError(Status.CANCELLED, 'the parent is gone'));
  expect((await statusOf(child)).message).toContain('the parent is gone');
  await eventually(
    'its end',
    () => server.counters(),
    ({ started, ended }) => started === ended,
  );
});

test('backpressure of requests: write() says false, writable() waits for the reader', async () => {
  const server = await startServer();
  const client = ourClient(server.port);
  const chat = client.chat(undefined, { metadata: { mode: 'gated-pull' } });
  const data = new Uint8Array(64 * 1024);
  // The handler waits, and the window of its stream is full: from here on nothing leaves.
  chat.write({ data });
  await eventually(
    'the handler waits',
    () => server.stats(),
    (stats) => total(stats, 'handlersRunning') === 1 && total(stats, 'receivedBytes') > 65_535,
  );
  let written = 0;
  while (chat.write({ data })) written += data.length;
  expect(written).toBeLessThan(2 << 20);
  let resumed = false;
  const writable = chat.writable().then(() => {
    resumed = true;
  });
  // What the server may have to say about the stream comes before its answer to what came behind it.
  await client.say({});
  expect(resumed).toBe(false);
  expect(() => {
    for (let count = 0; count < 20; count++) chat.write({ data });
  }).toThrow('MILLRACE_WRITE_OVERRUN');
  await server.release();
  const reading = all(chat);
  await writable;
  chat.end();
  expect((await reading).length).toBeGreaterThan(4);
});

test('a getter of a request may make calls, but not write to the stream of its request', async () => {
  const server = await startServer();
  const client = ourClient(server.port);
  const replies: Promise<{ text: string }>[] = [];
  const asking = (text: string) => ({
    text,
    get data() {
      replies.push(client.say({ text: `before ${text}` }));
      return new Uint8Array(100);
    },
  });
  expect((await client.say(asking('one'))).text).toBe('one');
  const chat = client.chat();
  const nested = {
    text: 'nested',
    get data() {
      chat.write({ text: 'inner' });
      return new Uint8Array(10);
    },
  };
  const ending = {
    text: 'ending',
    get data() {
      chat.end();
      return new Uint8Array(10);
    },
  };
  // Before the server answers requests are kept to be sent again, then they are not.
  for (const text of ['two', 'three', 'four']) {
    expect(() => chat.write(nested)).toThrow('MILLRACE_WRITE_NESTED');
    expect(() => chat.write(ending)).toThrow('MILLRACE_WRITE_NESTED');
    chat.write(asking(text));
    const { value } = await chat.next();
    expect([value?.text, value?.data.length]).toEqual([text, 100]);
  }
  const given: { end?: () => void } = { end: () => chat.cancel() };
  const cancelling = {
    text: 'last',
    get data() {
      given.end?.();
      return new Uint8Array(10);
    },
  };
  chat.write(cancelling);
  await expect(chat.next()).rejects.toMatchObject({ code: Status.CANCELLED });
  const said = (await Promise.all(replies)).map(({ text }) => text);
  expect(said).toEqual(['one', 'two', 'three', 'four'].map((text) => `before ${text}`));
});

test('backpressure of responses: an unread stream stops its server', async () => {
  const server = await startServer();
  const client = ourClient(server.port);
  const stream = client.expand({}, { metadata: { mode: 'flood' } });
  await stream.next();
  // The window and the server's mark bound what is on its way; neighbours go on.
  const sent = await settled(async () => total(await server.stats(), 'messagesSent'));
  expect(sent).toBeLessThan(200);
  expect((await client.say({ text: 'neighbour' })).text).toBe('neighbour');
  const lengths = (await take(stream, 200)).map(({ data }) => data.length);
  expect(new Set(lengths)).toEqual(new Set([16_384]));
});

test('a client is its methods and nothing else; several share a connection', async () => {
  const { port } = await startServer();
  const { client, connection } = ourConnection(port);
  expect(Object.keys(client)).toEqual(['say', 'collect', 'expand', 'chat', 'chatFast']);
  expect('then' in client).toBe(false);
  await client.say({});
  expect(connection.state).toBe('ready');
  await connection.close();
  expect(connection.state).toBe('shutdown');
  const error = await statusOf(client.say({}));
  expect(error.message).toContain('closed');
});

test('close() lets calls end, and cuts off what outlives its time', async () => {
  const server = await startServer();
  const { client, connection } = ourConnection(server.port);
  const ending = client.say({ text: 'x' }, { metadata: { mode: 'sleep:200' } });
  const never = client.say({}, { metadata: { mode: 'never-ends' } });
  const failed = statusOf(never);
  await eventually(
    'both',
    () => server.counters(),
    ({ started }) => started === 2,
  );
  await connection.close(600);
  expect((await ending).text).toBe('x');
  expect((await failed).code).toBe(Status.UNAVAILABLE);
});

test('interceptors wrap all four kinds', async () => {
  const { port } = await startServer();
  const seen: string[] = [];
  const client = ourClient(port, {
    interceptors: [
      async (call, next) => {
        call.ctx.metadata.set('x-echo', 'from the interceptor');
        seen.push(`> ${call.method.name}`);
        const output = await next(call);
        seen.push(`< ${call.method.name}`);
        return output;
      },
    ],
  });
  const call = client.say({}, { metadata: { mode: 'metadata' } });
  await call;
  expect((await call.headers).get('x-echo')).toBe('from the interceptor');
  expect((await all(client.expand({ count: 3, text: 'e' }))).length).toBe(3);
  expect((await client.collect([{}, {}])).count).toBe(2n);
  const upload = client.collect();
  upload.write({});
  upload.end();
  expect((await upload.response).count).toBe(1n);
  const chat = client.chat();
  chat.write({ text: 'c' });
  expect((await chat.next()).value?.text).toBe('c');
  chat.end();
  expect((await chat.next()).done).toBe(true);
  expect(seen.filter((line) => line.startsWith('>'))).toHaveLength(5);
  const failed = await statusOf(client.say({}, { metadata: { mode: 'status:5' } }));
  expect(failed.code).toBe(Status.NOT_FOUND);
});

test('retries: until it works, with the number of attempts, and no further than allowed', async () => {
  const attempts: string[] = [];
  let failures = 2;
  const { port } = await startForeign({
    ...honest,
    say(call: grpc.ServerUnaryCall<object, object>, callback: grpc.sendUnaryData<object>) {
      attempts.push(String(call.metadata.get('grpc-previous-rpc-attempts')[0] ?? ''));
      if (failures-- > 0) callback({ code: grpc.status.UNAVAILABLE, details: 'not yet' });
      else callback(null, call.request);
    },
  });
  const client = ourClient(port, {
    serviceConfig: {
      methodConfig: [
        {
          name: [{ service: 'millrace.echo.v1.Echo' }],
          retryPolicy: {
            maxAttempts: 3,
            initialBackoff: '0.01s',
            maxBackoff: '0.1s',
            backoffMultiplier: 2,
            retryableStatusCodes: ['UNAVAILABLE'],
          },
        },
      ],
    },
  });
  expect((await client.say({ text: 'at last' })).text).toBe('at last');
  expect(attempts).toEqual(['', '1', '2']);
  failures = 3;
  const error = await statusOf(client.say({}));
  expect(error).toMatchObject({ code: Status.UNAVAILABLE, message: 'not yet' });
  expect(attempts.length).toBe(6);
});

test('retries of a stream send its requests again', async () => {
  let failures = 1;
  const { port } = await startForeign({
    ...honest,
    chat(call: grpc.ServerDuplexStream<object, object>) {
      if (failures-- > 0) {
        call.once('data', () => {
          call.emit('error', { code: grpc.status.UNAVAILABLE, details: 'not yet' });
        });
        return;
      }
      (honest['chat'] as (given: typeof call) => void)(call);
    },
  });
  const client = ourClient(port, {
    serviceConfig: {
      methodConfig: [
        {
          name: [{}],
          retryPolicy: {
            maxAttempts: 2,
            initialBackoff: '0.01s',
            maxBackoff: '0.1s',
            backoffMultiplier: 2,
            retryableStatusCodes: [14],
          },
        },
      ],
    },
  });
  const replies = await all(client.chat([{ text: '1' }, { text: '2' }, { text: '3' }]));
  expect(replies.map(({ text }) => text)).toEqual(['1', '2', '3']);
});

test('pushback: the server says when, or never', async () => {
  const waits = ['250', '-1'];
  const times: number[] = [];
  const { port } = await startForeign({
    ...honest,
    say(_call: grpc.ServerUnaryCall<object, object>, callback: grpc.sendUnaryData<object>) {
      times.push(performance.now());
      const metadata = new grpc.Metadata();
      metadata.set('grpc-retry-pushback-ms', waits[times.length - 1] ?? '0');
      callback({ code: grpc.status.UNAVAILABLE, details: 'no', metadata });
    },
  });
  const client = ourClient(port, {
    serviceConfig: {
      methodConfig: [
        {
          name: [{}],
          retryPolicy: {
            maxAttempts: 5,
            initialBackoff: '0.001s',
            maxBackoff: '0.001s',
            backoffMultiplier: 1,
            retryableStatusCodes: ['unavailable'],
          },
        },
      ],
    },
  });
  expect((await statusOf(client.say({}))).code).toBe(Status.UNAVAILABLE);
  expect(times.length).toBe(2);
  expect(times[1]! - times[0]!).toBeGreaterThan(240);
});

test('hedging: the fastest answer counts, the others are cancelled', async () => {
  let calls = 0;
  let cancelled = 0;
  const { port } = await startForeign({
    ...honest,
    say(call: grpc.ServerUnaryCall<object, object>, callback: grpc.sendUnaryData<object>) {
      if (calls++ < 2) call.on('cancelled', () => cancelled++);
      else callback(null, { text: 'the third' });
    },
  });
  const client = ourClient(port, {
    serviceConfig: {
      methodConfig: [{ name: [{}], hedgingPolicy: { maxAttempts: 3, hedgingDelay: '0.02s' } }],
    },
  });
  expect((await client.say({})).text).toBe('the third');
  await eventually(
    'two cancellations',
    () => cancelled,
    (count) => count === 2,
  );
});

test('hedging: a status that is not fatal begins the next at once; a fatal one ends', async () => {
  const codes = [grpc.status.UNAVAILABLE, grpc.status.UNAVAILABLE, grpc.status.DATA_LOSS];
  let calls = 0;
  const { port } = await startForeign({
    ...honest,
    say(_call: grpc.ServerUnaryCall<object, object>, callback: grpc.sendUnaryData<object>) {
      callback({ code: codes[calls++]!, details: `attempt ${calls}` });
    },
  });
  const client = ourClient(port, {
    serviceConfig: {
      methodConfig: [
        {
          name: [{}],
          hedgingPolicy: {
            maxAttempts: 5,
            hedgingDelay: '30s',
            nonFatalStatusCodes: ['UNAVAILABLE'],
          },
        },
      ],
    },
  });
  expect(await statusOf(client.say({}))).toMatchObject({
    code: Status.DATA_LOSS,
    message: 'attempt 3',
  });
});

test('round_robin spreads calls over all addresses', async () => {
  const counts = [0, 0, 0];
  const ports = await Promise.all(
    counts.map(async (_, index) => {
      const { port } = await startForeign({
        ...honest,
        say(call: grpc.ServerUnaryCall<object, object>, callback: grpc.sendUnaryData<object>) {
          counts[index]!++;
          callback(null, call.request);
        },
      });
      return port;
    }),
  );
  const { client, connection } = ourConnection(
    `ipv4:${ports.map((port) => `127.0.0.1:${port}`).join(',')}`,
    { loadBalancing: 'round_robin' },
  );
  connection.connect();
  await eventually(
    'all three',
    () => connection.stats().connections,
    (count) => count === 3,
  );
  await eventually('all three take calls', async () => {
    await client.say({});
    return counts.every((count) => count > 0);
  });
  counts.fill(0);
  for (let count = 0; count < 30; count++) await client.say({});
  expect(counts).toEqual([10, 10, 10]);
});

test('metadata of a received call can be sent on', async () => {
  const { port } = await startServer();
  const client = ourClient(port);
  const metadata = new Metadata().set('mode', 'length');
  expect((await client.say({ data: new Uint8Array(5) }, { metadata })).text).toBe('5');
});

test('what the caller’s iterable throws is the outcome of the call, which is cancelled', async () => {
  const server = await startServer();
  const { client, connection } = ourConnection(server.port);
  async function* broken() {
    yield { text: 'one' };
    throw new Error('the source broke');
  }
  await expect(client.collect(broken())).rejects.toThrow('the source broke');
  await expect(all(client.chat(broken()))).rejects.toThrow('the source broke');
  await expect(all(client.chat([{ text: 1 as never }]))).rejects.toMatchObject({
    code: 'MILLRACE_ENCODE',
  });
  await eventually(
    'no call',
    () => connection.stats().callsUnderWay,
    (count) => count === 0,
  );
});

test('a hedged stream: every attempt gets the requests, one gives the answer', async () => {
  let calls = 0;
  const seen: string[][] = [];
  const { port } = await startForeign({
    ...honest,
    chat(call: grpc.ServerDuplexStream<{ text: string }, object>) {
      const mine: string[] = [];
      seen.push(mine);
      const answers = ++calls === 2;
      call.on('data', (message: { text: string }) => {
        mine.push(message.text);
        if (answers) call.write(message);
      });
      call.on('end', () => answers && call.end());
    },
  });
  const { client, connection } = ourConnection(port, {
    serviceConfig: {
      methodConfig: [{ name: [{}], hedgingPolicy: { maxAttempts: 2, hedgingDelay: '0.05s' } }],
    },
  });
  const chat = client.chat();
  chat.write({ text: 'a' });
  chat.write({ text: 'b' });
  expect((await chat.next()).value?.text).toBe('a');
  expect((await chat.next()).value?.text).toBe('b');
  chat.write({ text: 'c' });
  chat.end();
  expect((await chat.next()).value?.text).toBe('c');
  expect((await chat.next()).done).toBe(true);
  expect(seen[0]!.slice(0, 2)).toEqual(['a', 'b']);
  expect(seen[1]).toEqual(['a', 'b', 'c']);
  await eventually(
    'no call',
    () => connection.stats(),
    ({ callsUnderWay, bufferedBytes }) => callsUnderWay === 0 && bufferedBytes === 0,
  );
});

test('requests beyond the retry buffer commit the call', async () => {
  let calls = 0;
  const { port } = await startForeign({
    ...honest,
    collect(
      call: grpc.ServerReadableStream<{ data: Buffer }, object>,
      callback: grpc.sendUnaryData<object>,
    ) {
      calls++;
      call.on('data', () => {});
      call.on('end', () => callback({ code: grpc.status.UNAVAILABLE, details: 'no' }));
    },
  });
  const { client, connection } = ourConnection(port, {
    retryBuffer: { callBytes: 1000 },
    serviceConfig: {
      methodConfig: [
        {
          name: [{}],
          retryPolicy: {
            maxAttempts: 2,
            initialBackoff: '0.01s',
            maxBackoff: '0.01s',
            backoffMultiplier: 1,
            retryableStatusCodes: ['UNAVAILABLE'],
          },
        },
      ],
    },
  });
  const request = { data: new Uint8Array(400) };
  expect((await statusOf(client.collect([request, request]))).code).toBe(Status.UNAVAILABLE);
  expect(calls).toBe(2);
  expect((await statusOf(client.collect([request, request, request]))).code).toBe(
    Status.UNAVAILABLE,
  );
  expect(calls).toBe(3);
  expect(connection.stats().bufferedBytes).toBe(0);
});

test('pressure passes through a relay: the source is pulled no faster than the last reader reads', async () => {
  const server = await startServer();
  const client = ourClient(server.port);
  const data = new Uint8Array(16_384);
  let pulled = 0;
  async function* source() {
    for (; pulled < 2000; pulled++) yield { data };
  }
  // Two calls in a row: the responses of the first are the requests of the second.
  const last = client.chat(client.chat(source()));
  const first = await last.next();
  expect(first.value?.data.length).toBe(data.length);
  const quiet = { quietMs: patience(300), timeoutMs: patience(10_000) };
  expect(await settled(() => pulled, quiet)).toBeLessThan(500);
  let count = 1;
  for await (const reply of last) {
    expect(reply.data.length).toBe(data.length);
    count++;
  }
  expect(count).toBe(2000);
});
