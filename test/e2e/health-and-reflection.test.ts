// Health and reflection of examples/echo, as others see them: grpc-js, grpcurl, grpc-health-probe.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { loadSync } from '@grpc/proto-loader';
import { health } from '@millrace/health';
import { serve } from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { echoClient, grpc, say } from '../support/echo-client.js';
import { goTool } from '../support/go-tools.js';
import { patience } from '../support/patience.js';
import { FrameType, RawPeer } from '../support/raw-peer.js';
import { startEcho } from '../support/server.js';

const ECHO = 'millrace.echo.v1.Echo';

// biome-ignore lint/suspicious/noExplicitAny: clients that are made from .proto files at run time
type Client = any;

function clientFor(port: number, file: string, name: string): Client {
  const proto = fileURLToPath(new URL(`../../protos/grpc/${file}`, import.meta.url));
  const Constructor = grpc.makeGenericClientConstructor(
    loadSync(proto, { enums: String, defaults: true, oneofs: true })[
      name
    ] as grpc.ServiceDefinition,
    name,
  );
  const client = new Constructor(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  onTestFinished(() => client.close());
  return client;
}

const healthClient = (port: number) =>
  clientFor(port, 'health/v1/health.proto', 'grpc.health.v1.Health');

function unary(client: Client, method: string, request: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    client[method](request, (error: Error | null, reply: unknown) =>
      error === null ? resolve(reply) : reject(error),
    );
  });
}

/** The statuses that a watcher is told, one at a time. */
function watch(client: Client, service: string) {
  const call = client.Watch({ service });
  const statuses = call[Symbol.asyncIterator]();
  return async (): Promise<string> => (await statuses.next()).value.status;
}

test('Check and List tell what is served', async () => {
  const { port } = await startEcho();
  const client = healthClient(port);
  for (const service of ['', ECHO, 'grpc.health.v1.Health']) {
    expect(await unary(client, 'Check', { service })).toEqual({ status: 'SERVING' });
  }
  await expect(unary(client, 'Check', { service: 'none' })).rejects.toMatchObject({
    code: grpc.status.NOT_FOUND,
  });
  expect(await unary(client, 'List', {})).toMatchObject({
    statuses: { '': { status: 'SERVING' }, [ECHO]: { status: 'SERVING' } },
  });
});

test('Watch tells at once, and each change', async () => {
  const status = health();
  const server = await serve({ services: [status], port: 0, log: { level: 'warn' } });
  onTestFinished(async () => void (await server.close()));
  const next = watch(healthClient(server.port), 'database');
  expect(await next()).toBe('SERVICE_UNKNOWN');
  status.set('database', 'SERVING');
  expect(await next()).toBe('SERVING');
  status.set('database', 'NOT_SERVING');
  expect(await next()).toBe('NOT_SERVING');
  status.remove('database');
  expect(await next()).toBe('SERVICE_UNKNOWN');
});

test.each(['1', '2'])(
  'SIGTERM, %s thread(s): watchers are told and hold up nothing, calls end well',
  async (threads) => {
    const { process: server, port } = await startEcho({ THREADS: threads });
    const watchers = Array.from({ length: 16 }, () => watch(healthClient(port), ECHO));
    for (const next of watchers) expect(await next()).toBe('SERVING');
    const client = echoClient(port);
    onTestFinished(() => client.close());
    const call = client.chat(new grpc.Metadata(), {});
    call.write({ text: 'before' });
    const replies = call[Symbol.asyncIterator]();
    expect((await replies.next()).value.text).toBe('before');

    const told = Promise.all(watchers.map((next) => next()));
    server.signal('SIGTERM');
    expect(new Set(await told)).toEqual(new Set(['NOT_SERVING']));
    for (const next of watchers) {
      await expect(next()).rejects.toMatchObject({ code: grpc.status.UNAVAILABLE });
    }
    // A call that has begun goes on meanwhile.
    call.write({ text: 'after' });
    expect((await replies.next()).value.text).toBe('after');
    call.end();
    expect((await replies.next()).done).toBe(true);
    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(server.logs.find(({ msg }) => msg === 'closed')).toMatchObject({ aborted: 0 });
  },
);

/** The types of frames, in their order. */
function frameTypes(bytes: Buffer): number[] {
  const types: number[] = [];
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    types.push(bytes.readUInt8(at + 3));
  }
  return types;
}

test('a drain tells watchers before connections are told to go', async () => {
  const { process: server, port } = await startEcho();
  const peer = await RawPeer.connect(port);
  onTestFinished(() => peer.close());
  const watching = peer.request({ path: '/grpc.health.v1.Health/Watch' });
  await watching.sendMessage(Buffer.alloc(0), true);
  await watching.receivedMessages(1);
  // All frames from here on; both may come in one packet.
  const received: Buffer[] = [];
  peer.socket.on('data', (bytes: Buffer) => received.push(bytes));
  server.signal('SIGTERM');
  await Promise.all([watching.end, peer.goingAway()]);
  const types = frameTypes(Buffer.concat(received));
  expect(types).toContain(FrameType.GOAWAY);
  expect(types.indexOf(FrameType.DATA)).toBeGreaterThanOrEqual(0);
  expect(types.indexOf(FrameType.DATA)).toBeLessThan(types.indexOf(FrameType.GOAWAY));
  // A field of SERVING, then one of NOT_SERVING.
  expect(watching.messages.map((message) => [...message])).toEqual([
    [8, 1],
    [8, 2],
  ]);
  expect((await watching.end).code).toBe(grpc.status.UNAVAILABLE);
  await peer.close();
  expect(await server.exited).toEqual({ code: 0, signal: null });
});

test('a watcher that goes leaves nothing behind', async () => {
  const status = health();
  const server = await serve({ services: [status], port: 0, log: { level: 'warn' } });
  onTestFinished(async () => void (await server.close()));
  const client = healthClient(server.port);
  const calls = Array.from({ length: 200 }, () => client.Watch({ service: '' }));
  for (const call of calls) {
    call.on('error', () => {});
    await new Promise((resolve) => call.once('data', resolve));
    call.cancel();
  }
  // Calls begin in order: when this one is answered, the cancellations have been read.
  await unary(client, 'Check', { service: '' });
  expect(await server.close()).toMatchObject({ aborted: 0 });
});

test.each(['v1', 'v1alpha'])('reflection %s answers in order', async (version) => {
  const { port } = await startEcho();
  const name = `grpc.reflection.${version}.ServerReflection`;
  const client = clientFor(port, `reflection/${version}/reflection.proto`, name);
  const call = client.ServerReflectionInfo();
  call.write({ listServices: '' });
  call.write({ fileContainingSymbol: `${ECHO}.Say` });
  call.write({ fileByFilename: 'none.proto' });
  call.end();
  const replies: Client[] = [];
  for await (const reply of call) replies.push(reply);
  expect(replies.map(({ messageResponse }) => messageResponse)).toEqual([
    'listServicesResponse',
    'fileDescriptorResponse',
    'errorResponse',
  ]);
  const services = replies[0].listServicesResponse.service.map((one: Client) => one.name);
  expect(services).toEqual([
    'grpc.health.v1.Health',
    'grpc.reflection.v1.ServerReflection',
    'grpc.reflection.v1alpha.ServerReflection',
    ECHO,
  ]);
  const [file] = replies[1].fileDescriptorResponse.fileDescriptorProto;
  expect(file.includes('millrace/echo/v1/echo.proto')).toBe(true);
  expect(replies[2].errorResponse.errorCode).toBe(grpc.status.NOT_FOUND);
});

const grpcurl = goTool('github.com/fullstorydev/grpcurl/cmd/grpcurl', 'v1.9.3');
const probe = goTool('github.com/grpc-ecosystem/grpc-health-probe', 'v0.4.63');

interface Ended {
  readonly code: number;
  readonly output: string;
}

/** Runs a program to its end, with this input. */
function run(program: string, programArguments: readonly string[], input = ''): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      programArguments,
      { timeout: patience(30_000) },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : Number(error.code ?? -1);
        resolve({ code, output: stdout + stderr });
      },
    );
    child.stdin?.end(input);
  });
}

/** One line of JSON for each message that was printed. */
function compact(output: string): string {
  return output.replace(/\s/g, '').replaceAll('}{', '}\n{');
}

test.skipIf(grpcurl === undefined)('grpcurl, without a .proto file', async () => {
  const { port } = await startEcho();
  const call = (words: readonly string[], input?: string) =>
    run(grpcurl as string, ['-plaintext', ...words], input);
  const address = `127.0.0.1:${port}`;

  const list = await call([address, 'list']);
  expect(list.output.trim().split('\n')).toContain(ECHO);
  const description = await call([address, 'describe', ECHO]);
  expect(description.output).toContain(
    'rpc Expand ( .millrace.echo.v1.ExpandRequest ) returns ( stream .millrace.echo.v1.EchoReply );',
  );
  const message = await call([address, 'describe', 'millrace.echo.v1.ExpandRequest']);
  expect(message.output).toContain('bytes data = 3;');

  const said = await call(['-d', '{"text":"hello"}', address, `${ECHO}/Say`]);
  expect([said.code, compact(said.output)]).toEqual([0, '{"text":"hello"}']);
  const expanded = await call(['-d', '{"count":2,"text":"x"}', address, `${ECHO}/Expand`]);
  expect(compact(expanded.output)).toBe('{"text":"x"}\n{"text":"x"}');
  const lines = '{"text":"a"}\n{"text":"b","data":"AAE="}';
  const chatted = await call(['-d', '@', address, `${ECHO}/Chat`], lines);
  expect([chatted.code, compact(chatted.output)]).toEqual([0, lines]);
  const collected = await call(['-d', '@', address, `${ECHO}/Collect`], lines);
  expect(compact(collected.output)).toBe('{"count":"2","bytes":"2"}');

  const health = (service: string) =>
    call(['-d', `{"service":"${service}"}`, address, 'grpc.health.v1.Health/Check']);
  expect(compact((await health(ECHO)).output)).toBe('{"status":"SERVING"}');
  const unknown = await health('none');
  expect(unknown.code).not.toBe(0);
  expect(unknown.output).toContain('Code: NotFound');
});

test.skipIf(probe === undefined)('grpc-health-probe', async () => {
  const { process: server, port } = await startEcho();
  const check = (service: string) =>
    run(probe as string, ['-addr', `127.0.0.1:${port}`, '-service', service]);
  for (const service of ['', ECHO]) {
    const { code, output } = await check(service);
    expect(output).toContain('SERVING');
    expect(code).toBe(0);
  }
  expect((await check('none')).code).not.toBe(0);
  server.signal('SIGTERM');
  await server.exited;
  expect((await check('')).code).not.toBe(0);
});

test('health and reflection stand beside the service, not in its way', async () => {
  const { port } = await startEcho();
  const client = echoClient(port);
  onTestFinished(() => client.close());
  const next = watch(healthClient(port), '');
  expect(await next()).toBe('SERVING');
  const texts = Array.from({ length: 500 }, (_, number) => `${number}`);
  const replies = await Promise.all(texts.map((text) => say(client, { text })));
  expect(replies.map(({ text }) => text)).toEqual(texts);
});
