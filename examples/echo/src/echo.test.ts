import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { type Server, serve } from 'millrace';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { echo } from './services.js';

// A client that knows nothing of Millrace, made from the same contract.
const proto = fileURLToPath(
  new URL('../../../protos/millrace/echo/v1/echo.proto', import.meta.url),
);
const definition = loadSync(proto, { longs: String, defaults: true })['millrace.echo.v1.Echo'];
const EchoClient = grpc.makeGenericClientConstructor(
  definition as grpc.ServiceDefinition,
  'millrace.echo.v1.Echo',
);

const messages = ['one', 'two', 'three'].map((text) => ({ text, data: Buffer.from(text) }));

let server: Server;
let client: InstanceType<typeof EchoClient>;

beforeAll(async () => {
  server = await serve({ services: [echo], port: 0, log: { level: 'warn' } });
  client = new EchoClient(`127.0.0.1:${server.port}`, grpc.credentials.createInsecure());
});

afterAll(async () => {
  client.close();
  await server.close();
});

test('Say answers with what it was told', async () => {
  expect(await reply((done) => client['Say']?.(messages[0], done))).toEqual(messages[0]);
});

test('Collect counts messages and the bytes of their data', async () => {
  const counted = await reply((done) => {
    const call = client['Collect']?.(done);
    for (const message of messages) call.write(message);
    call.end();
  });
  expect(counted).toEqual({ count: '3', bytes: '11' });
});

test('Expand answers as often as it was asked to', async () => {
  const call = client['Expand']?.({ count: 3, text: 'again', data: Buffer.from([1, 2]) });
  const again = { text: 'again', data: Buffer.from([1, 2]) };
  expect(await all(call)).toEqual([again, again, again]);
});

describe.each(['Chat', 'ChatFast'])('%s', (method) => {
  test('answers each message, in order', async () => {
    const call = client[method]?.();
    for (const message of messages) call.write(message);
    call.end();
    expect(await all(call)).toEqual(messages);
  });
});

function reply(start: (done: (error: Error | null, value: unknown) => void) => void) {
  return new Promise((resolve, reject) => {
    start((error, value) => (error === null ? resolve(value) : reject(error)));
  });
}

async function all(stream: AsyncIterable<unknown>): Promise<unknown[]> {
  const received = [];
  for await (const message of stream) received.push(message);
  return received;
}
