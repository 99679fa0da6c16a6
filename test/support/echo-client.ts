// The independent client: @grpc/grpc-js, with the contract loaded from the .proto file.

import { ok, strictEqual } from 'node:assert';
import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { onTestFinished } from 'vitest';

export { grpc };

export interface EchoMessage {
  text?: string;
  data?: Uint8Array;
}

export interface EchoReply {
  text: string;
  data: Buffer;
}

export interface CollectReply {
  count: string;
  bytes: string;
}

export interface ExpandRequest extends EchoMessage {
  count?: number;
}

type UnaryCallback<R> = (error: grpc.ServiceError | null, reply?: R) => void;

/** What proto-loader makes of the contract. */
export interface EchoClient extends grpc.Client {
  say(
    request: EchoMessage,
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
    callback: UnaryCallback<EchoReply>,
  ): grpc.ClientUnaryCall;
  collect(
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
    callback: UnaryCallback<CollectReply>,
  ): grpc.ClientWritableStream<EchoMessage>;
  expand(
    request: ExpandRequest,
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
  ): grpc.ClientReadableStream<EchoReply>;
  chat(metadata: grpc.Metadata, options: grpc.CallOptions): Duplex;
  chatFast(metadata: grpc.Metadata, options: grpc.CallOptions): Duplex;
  /** A method that the server does not have. */
  makeUnaryRequest: grpc.Client['makeUnaryRequest'];
}

export type Duplex = grpc.ClientDuplexStream<EchoMessage, EchoReply>;

const definition = grpc.loadPackageDefinition(
  loadSync(fileURLToPath(new URL('../../protos/millrace/echo/v1/echo.proto', import.meta.url)), {
    keepCase: false,
    longs: String,
    defaults: true,
  }),
);

const Echo = path(definition, ['millrace', 'echo', 'v1', 'Echo']) as unknown as new (
  address: string,
  credentials: grpc.ChannelCredentials,
  options: grpc.ClientOptions,
) => EchoClient;

function path(from: unknown, names: string[]): unknown {
  return names.reduce((at, name) => (at as Record<string, unknown>)[name], from);
}

/** A client with a connection of its own, to a port of this machine or a target. */
export function echoClient(
  target: number | string,
  options: grpc.ClientOptions = {},
  credentials = grpc.credentials.createInsecure(),
): EchoClient {
  return new Echo(typeof target === 'number' ? `127.0.0.1:${target}` : target, credentials, {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': -1,
    'grpc.enable_retries': 0,
    ...options,
  });
}

/** The same, closed when the test is finished. */
export function clientOf(
  server: { readonly port: number | string },
  options?: grpc.ClientOptions,
  credentials?: grpc.ChannelCredentials,
): EchoClient {
  const client = echoClient(server.port, options, credentials);
  onTestFinished(() => client.close());
  return client;
}

export interface CallOptions {
  readonly mode?: string;
  readonly metadata?: Record<string, string | Buffer>;
  readonly timeoutMs?: number;
}

function prepare(options: CallOptions): [grpc.Metadata, grpc.CallOptions] {
  const metadata = new grpc.Metadata();
  if (options.mode !== undefined) metadata.set('mode', options.mode);
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
  const callOptions: grpc.CallOptions = {};
  if (options.timeoutMs !== undefined) callOptions.deadline = Date.now() + options.timeoutMs;
  return [metadata, callOptions];
}

export function say(
  client: EchoClient,
  request: EchoMessage,
  options: CallOptions = {},
): Promise<EchoReply> {
  return new Promise((resolve, reject) => {
    client.say(request, ...prepare(options), settle(resolve, reject));
  });
}

/** Streams the messages, one after another as the connection takes them. */
export function collect(
  client: EchoClient,
  messages: Iterable<EchoMessage>,
  options: CallOptions = {},
): Promise<CollectReply> {
  return new Promise((resolve, reject) => {
    const call = client.collect(...prepare(options), settle(resolve, reject));
    writeAll(call, messages).catch(reject);
  });
}

export async function expand(
  client: EchoClient,
  request: ExpandRequest,
  options: CallOptions = {},
): Promise<EchoReply[]> {
  const replies: EchoReply[] = [];
  for await (const reply of client.expand(request, ...prepare(options))) replies.push(reply);
  return replies;
}

export function openChat(
  client: EchoClient,
  method: 'chat' | 'chatFast',
  options: CallOptions = {},
): Duplex {
  const call = client[method](...prepare(options));
  // Who iterates the call gets its error; who does not must not crash the test run.
  call.on('error', () => {});
  return call;
}

export async function chat(
  client: EchoClient,
  method: 'chat' | 'chatFast',
  messages: Iterable<EchoMessage>,
  options: CallOptions = {},
): Promise<EchoReply[]> {
  const call = openChat(client, method, options);
  const written = writeAll(call, messages);
  const replies: EchoReply[] = [];
  for await (const reply of call) replies.push(reply as EchoReply);
  await written;
  return replies;
}

/** Writes with backpressure, then ends; stops when the call is over. */
async function writeAll(
  call: grpc.ClientWritableStream<EchoMessage> | Duplex,
  messages: Iterable<EchoMessage>,
): Promise<void> {
  for (const message of messages) {
    if (call.destroyed) return;
    if (!call.write(message)) {
      await new Promise<void>((resolve) => {
        const done = () => {
          for (const event of ['drain', 'close', 'error', 'status']) call.off(event, done);
          resolve();
        };
        for (const event of ['drain', 'close', 'error', 'status']) call.on(event, done);
      });
    }
  }
  call.end();
}

function settle<R>(
  resolve: (reply: R) => void,
  reject: (error: grpc.ServiceError) => void,
): UnaryCallback<R> {
  return (error, reply) => (error === null ? resolve(reply!) : reject(error));
}

/**
 * Throws unless the replies are the messages, byte by byte. (A matcher would look at each byte of
 * each buffer by itself, and take longer over it than the server.)
 */
export function assertEchoed(
  replies: readonly EchoMessage[],
  messages: readonly EchoMessage[],
): void {
  strictEqual(replies.length, messages.length, 'number of replies');
  for (const [index, message] of messages.entries()) {
    const reply = replies[index]!;
    strictEqual(reply.text ?? '', message.text ?? '', `text of reply ${index}`);
    const same = Buffer.compare(reply.data ?? EMPTY, message.data ?? EMPTY) === 0;
    ok(same, `data of reply ${index} differs`);
  }
}

const EMPTY = new Uint8Array(0);

/** The status with which a call fails; throws if it does not. */
export async function failure(call: Promise<unknown>): Promise<grpc.ServiceError> {
  try {
    await call;
  } catch (error) {
    return error as grpc.ServiceError;
  }
  throw new Error('the call succeeded');
}
