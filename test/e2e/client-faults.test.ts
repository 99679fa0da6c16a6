// What can go wrong between our client and a server: each yields the status that gRPC prescribes, and
// a message that names target, method and cause.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import { connect, connection, Status } from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { honest, startForeign } from '../support/foreign-server.js';
import { listening, startHttp2 } from '../support/http2-server.js';
import { all, ourClient, ourConnection, statusOf } from '../support/our-client.js';
import { startServer } from '../support/server.js';

const SAY = '/millrace.echo.v1.Echo/Say';

/** A gRPC message with no content. */
const EMPTY = Buffer.from([0, 0, 0, 0, 0]);

test('a target that does not resolve', async () => {
  const client = ourClient('dns:no-such-host.invalid:50051', {
    lookup: async (host) => {
      throw Object.assign(new Error(host), { code: 'ENOTFOUND' });
    },
  });
  const error = await statusOf(client.say({}));
  expect(error.code).toBe(Status.UNAVAILABLE);
  expect(error.message).toContain(SAY);
  expect(error.message).toContain('no-such-host.invalid:50051');
  expect(error.message).toContain('ENOTFOUND');
});

test('nobody listens', async () => {
  const port = await listening(createServer());
  const unused = await new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port: free } = server.address() as AddressInfo;
      server.close(() => resolve(free));
    });
  });
  expect(unused).not.toBe(port);
  const client = ourClient(unused);
  const error = await statusOf(client.say({}));
  expect(error.code).toBe(Status.UNAVAILABLE);
  expect(error.message).toContain(`${SAY} at 127.0.0.1:${unused}`);
  expect(error.message).toMatch(/refused/i);
});

test('a server of HTTP/1.1, and one of another protocol', async () => {
  const http = await listening(createHttp((_request, response) => response.end('hello')));
  const garbage = await listening(
    createServer((socket) => {
      socket.on('error', () => {});
      socket.write('220 mail.example ESMTP\r\n');
    }),
  );
  for (const port of [http, garbage]) {
    const error = await statusOf(ourClient(port).say({}));
    expect(error.code).toBe(Status.UNAVAILABLE);
    expect(error.message).toContain(`${SAY} at 127.0.0.1:${port}`);
    expect(error.message).toMatch(/not an HTTP\/2|is no HTTP\/2|HTTP\/2/);
  }
});

test.each([
  [400, Status.INTERNAL],
  [401, Status.UNAUTHENTICATED],
  [403, Status.PERMISSION_DENIED],
  [404, Status.UNIMPLEMENTED],
  [429, Status.UNAVAILABLE],
  [503, Status.UNAVAILABLE],
  [418, Status.UNKNOWN],
])('an answer of HTTP %i', async (status, code) => {
  const port = await startHttp2((stream) => {
    stream.respond({ ':status': status, 'content-type': 'text/plain' });
    stream.end('sorry');
  });
  const client = ourClient(port);
  const error = await statusOf(client.say({}));
  expect(error.code).toBe(code);
  expect(error.message).toContain(`${SAY} at 127.0.0.1:${port}`);
  expect(error.message).toContain(String(status));
  expect((await statusOf(all(client.expand({})))).code).toBe(code);
});

test.each<[string, Record<string, string> | undefined]>([
  ['no trailers', undefined],
  ['no grpc-status', { 'x-other': '1' }],
  ['a grpc-status that is no number', { 'grpc-status': 'fine' }],
])('malformed trailers: %s', async (_what, trailers) => {
  const port = await startHttp2((stream) => {
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc' },
      { waitForTrailers: trailers !== undefined },
    );
    if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end(EMPTY);
  });
  const error = await statusOf(ourClient(port).say({}));
  expect([Status.UNKNOWN, Status.INTERNAL]).toContain(error.code);
  expect(error.message).toContain(`${SAY} at 127.0.0.1:${port}`);
});

test('a response that is no message of its type', async () => {
  const port = await startHttp2((stream) => {
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(Buffer.from([0, 0, 0, 0, 2, 0x0a, 0x7f]));
  });
  const { client, connection: own } = ourConnection(port);
  for (const call of [() => client.say({}), () => all(client.expand({}))]) {
    const error = await statusOf(call());
    expect(error.code).toBe(Status.INTERNAL);
    expect(error.message).toMatch(/invalid response/);
  }
  await eventually(
    'no call',
    () => own.stats().callsUnderWay,
    (count) => count === 0,
  );
});

test('a server that vanishes mid-stream', async () => {
  const server = await startServer();
  const client = ourClient(server.port);
  const chat = client.chat();
  chat.write({ text: 'here' });
  await chat.next();
  const waiting = statusOf(chat.next());
  server.signal('SIGKILL');
  const error = await waiting;
  expect(error.code).toBe(Status.UNAVAILABLE);
  expect(error.message).toContain(`/millrace.echo.v1.Echo/Chat at 127.0.0.1:${server.port}`);
  await expect(chat.writable()).rejects.toBe(error);
  expect(chat.write({ text: 'late' })).toBe(false);
});

test('what came before an error is read before it is thrown', async () => {
  const port = await startHttp2((stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    stream.write(EMPTY);
    stream.write(EMPTY);
    stream.end();
  });
  const stream = ourClient(port).expand({});
  await stream.trailers;
  expect((await stream.next()).done).toBe(false);
  expect((await stream.next()).done).toBe(false);
  await expect(stream.next()).rejects.toMatchObject({ code: Status.UNKNOWN });
});

test('all that came before a loss is read, however much of it had to wait', async () => {
  const count = 3000;
  const port = await startHttp2((stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    // More than may wait as messages, and the beginning of one that is cut off.
    const bytes = Buffer.concat([...Array.from({ length: count }, () => EMPTY), Buffer.alloc(3)]);
    stream.write(bytes, () => stream.session?.destroy());
  });
  const { client, connection: own } = ourConnection(port);
  const stream = client.expand({});
  await stream.headers;
  await eventually(
    'the loss',
    () => own.state,
    (state) => state !== 'ready',
  );
  let read = 0;
  const error = await statusOf(
    (async () => {
      for await (const _ of stream) read++;
    })(),
  );
  expect(read).toBe(count);
  expect(error.code).toBe(Status.UNAVAILABLE);
  expect(error.message).toContain(`/millrace.echo.v1.Echo/Expand at 127.0.0.1:${port}`);
});

test('a server that comes back is found again, and wait-for-ready waits for it', async () => {
  const first = await startForeign(honest);
  const { client, connection: own } = ourConnection(first.port, {
    backoff: { initialMs: 20, mostMs: 50 },
  });
  await client.say({});
  first.server.forceShutdown();
  await eventually(
    'the loss',
    () => own.state,
    (state) => state !== 'ready',
  );
  await eventually(
    'a failure',
    () =>
      client.say({}).then(
        () => '',
        (error: { message: string }) => error.message,
      ),
    (message) => message.includes('refused'),
  );
  const waiting = client.say({ text: 'patient' }, { waitForReady: true, timeoutMs: 20_000 });
  const impatient = await statusOf(client.say({}, { waitForReady: true, timeoutMs: 50 }));
  expect(impatient.code).toBe(Status.DEADLINE_EXCEEDED);
  expect(impatient.message).toMatch(/waited for a connection.*refused/);
  await startForeign(honest, first.port);
  expect((await waiting).text).toBe('patient');
});

test('rolling restarts lose no call: what the server has not seen is made again', async () => {
  let server = await startForeign(honest);
  const { port } = server;
  const client = ourClient(port, { backoff: { initialMs: 10, mostMs: 50 } });
  let stop = false;
  const failures: string[] = [];
  let done = 0;
  const worker = async () => {
    while (!stop) {
      try {
        await client.say({ text: 'x' }, { waitForReady: true });
        done++;
      } catch (error) {
        failures.push((error as Error).message);
      }
    }
  };
  const workers = Array.from({ length: 8 }, worker);
  for (let round = 0; round < 3; round++) {
    const before = done;
    await eventually(
      'some calls',
      () => done,
      (count) => count > before + 50,
    );
    await new Promise<void>((resolve) => server.server.tryShutdown(() => resolve()));
    server = await startForeign(honest, port);
  }
  stop = true;
  await Promise.all(workers);
  expect(failures).toEqual([]);
});

test('REFUSED_STREAM is retried once, without a policy', async () => {
  let calls = 0;
  const port = await startHttp2((stream) => {
    if (++calls === 1) {
      stream.close(7);
      return;
    }
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(EMPTY);
  });
  const client = ourClient(port);
  expect((await client.say({})).text).toBe('');
  expect(calls).toBe(2);
});

test('unix sockets, by both spellings', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-socket-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'socket');
  const server = new grpc.Server();
  const { port } = await startForeign(honest);
  expect(port).toBeGreaterThan(0);
  server.addService({ say: { ...serviceMethod('Say') } } as never, { say: honest['say'] } as never);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${path}`, grpc.ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  onTestFinished(() => server.forceShutdown());
  for (const target of [`unix:${path}`, `unix://${path}`]) {
    expect((await ourClient(target).say({ text: 'local' })).text).toBe('local');
  }
  const error = await statusOf(ourClient(`unix:${path}.not`).say({}));
  expect(error.code).toBe(Status.UNAVAILABLE);
  expect(error.message).toContain(`unix:${path}.not`);
});

/** A method that hands bytes through. */
function serviceMethod(name: string) {
  const same = (bytes: Buffer) => bytes;
  return {
    path: `/millrace.echo.v1.Echo/${name}`,
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

test('health: calls go to a round robin of those that serve', async () => {
  const watchers = new Set<grpc.ServerWritableStream<unknown, unknown>>();
  let status = 2;
  const say = (_status: number) => Buffer.from([8, _status]);
  const same = (bytes: Buffer) => bytes;
  const server = new grpc.Server();
  server.addService(
    {
      watch: {
        path: '/grpc.health.v1.Health/Watch',
        requestStream: false,
        responseStream: true,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same,
      },
      say: serviceMethod('Say'),
    } as never,
    {
      say: honest['say'],
      watch(call: grpc.ServerWritableStream<Buffer, Buffer>) {
        expect(call.request.subarray(2).toString()).toBe('echo');
        watchers.add(call as never);
        call.write(say(status));
      },
    } as never,
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, found) =>
      error === null ? resolve(found) : reject(error),
    );
  });
  onTestFinished(() => server.forceShutdown());
  const { client, connection: own } = ourConnection(port, {
    serviceConfig: {
      loadBalancingConfig: [{ round_robin: {} }],
      healthCheckConfig: { serviceName: 'echo' },
    },
  });
  const error = await statusOf(client.say({}));
  expect(error.code).toBe(Status.UNAVAILABLE);
  expect(error.message).toContain('"echo" is not serving');
  status = 1;
  for (const watcher of watchers) watcher.write(say(status));
  await eventually(
    'ready',
    () => own.state,
    (state) => state === 'ready',
  );
  expect((await client.say({ text: 'well' })).text).toBe('well');
});

test('a method named Then or Close breaks nothing', async () => {
  const { port } = await startForeign(honest);
  const say = Echo.methods.say;
  const Odd = {
    typeName: Echo.typeName,
    methods: {
      // biome-ignore lint/suspicious/noThenProperty: what is tested
      then: { ...say, name: 'Then' },
      close: { ...say, name: 'Close' },
      catch: { ...say, name: 'Catch' },
      constructor: { ...say, name: 'Constructor' },
    },
  } as const;
  const shared = connection(`127.0.0.1:${port}`);
  onTestFinished(() => shared.close());
  const client = connect(Odd, shared);
  expect(await client).toBe(client);
  expect((await client.then$({ text: 'then' })).text).toBe('then');
  expect((await client.close({ text: 'close' })).text).toBe('close');
  expect((await client.constructor({ text: 'constructor' })).text).toBe('constructor');
  await client[Symbol.asyncDispose]();
  expect(shared.state).toBe('ready');
});

test('a method that the server does not have', async () => {
  const server = await startServer();
  const Odd = {
    typeName: 'a.Service',
    methods: { none: { ...Echo.methods.say, name: 'None', path: '/a.Service/None' } },
  } as const;
  const shared = connection(`127.0.0.1:${server.port}`);
  onTestFinished(() => shared.close());
  const error = await statusOf(connect(Odd, shared).none({}));
  expect(error.code).toBe(Status.UNIMPLEMENTED);
});
