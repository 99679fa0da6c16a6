// Whatever goes wrong between a client and its server: the call ends with the status that the gRPC
// documents prescribe, and its message names the method, the target and the cause, for calls of one
// response and of many.

import { createServer as createHttp } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import { createServer, type Server } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import { connect, Status, serve, service } from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { makeAuthority, serverOf } from '../support/certificates/make.js';
import { honest, startForeign } from '../support/foreign-server.js';
import { listening, startHttp2 } from '../support/http2-server.js';
import { all, ourClient, ourConnection, statusOf } from '../support/our-client.js';
import { startServer } from '../support/server.js';

type Options = Parameters<typeof ourConnection>[1];

/** Where a fault is, and with which options it is met. */
interface Fault {
  readonly target: string;
  readonly options?: Options;
}

function at(port: number, options?: Options): Fault {
  const target = `127.0.0.1:${port}`;
  return options === undefined ? { target } : { target, options };
}

/** A server that is none of HTTP/2. */
async function other(server: Server): Promise<Fault> {
  return at(await listening(server));
}

/** An HTTP/2 server whose answers are no gRPC, or broken. */
async function answering(answer: (stream: ServerHttp2Stream) => void): Promise<Fault> {
  return at(await startHttp2(answer));
}

/** Headers, an empty message, and these trailers. */
function ending(trailers: Record<string, string>): () => Promise<Fault> {
  return () =>
    answering((stream) => {
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc' },
        { waitForTrailers: true },
      );
      stream.on('wantTrailers', () => stream.sendTrailers(trailers));
      stream.end(Buffer.alloc(5));
    });
}

const { authority, server: certified } = makeAuthority();
const { authority: stranger } = makeAuthority();

async function secure(certificate = certified, options?: Options): Promise<Fault> {
  const pair = [
    { cert_chain: Buffer.from(certificate.cert), private_key: Buffer.from(certificate.key) },
  ];
  const { port } = await startForeign(honest, 0, {}, grpc.ServerCredentials.createSsl(null, pair));
  return at(port, options);
}

const faults: [string, Status, RegExp, () => Promise<Fault>][] = [
  [
    'a target that does not resolve',
    Status.UNAVAILABLE,
    /ENOTFOUND/,
    async () => ({
      target: 'dns:no-such-host.invalid:50051',
      options: {
        lookup: async () => {
          throw Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' });
        },
      },
    }),
  ],
  [
    'a port on which nobody listens',
    Status.UNAVAILABLE,
    /refused/i,
    async () => {
      const server = createServer();
      const fault = await other(server);
      await new Promise((resolve) => server.close(resolve));
      return fault;
    },
  ],
  [
    'a server of HTTP/1.1',
    Status.UNAVAILABLE,
    /HTTP\/2|HTTP\/1/,
    () => other(createHttp((_request, response) => response.end('hello'))),
  ],
  [
    'a server of another protocol',
    Status.UNAVAILABLE,
    /HTTP\/2.*220 mail/,
    () =>
      other(
        createServer((socket) => {
          socket.on('error', () => {});
          socket.write('220 mail.example ESMTP\r\n');
        }),
      ),
  ],
  [
    'a server that hangs up',
    Status.UNAVAILABLE,
    /closed|reset/,
    () => other(createServer((socket) => socket.destroy())),
  ],
  [
    'a page instead of an answer',
    Status.UNKNOWN,
    /HTTP status 200 and content-type text\/html/,
    () =>
      answering((stream) => {
        stream.respond({ ':status': 200, 'content-type': 'text/html' });
        stream.end('<h1>hello</h1>');
      }),
  ],
  [
    'HTTP 503 of a proxy',
    Status.UNAVAILABLE,
    /HTTP status 503/,
    () =>
      answering((stream) => {
        stream.respond({ ':status': 503, 'content-type': 'text/plain' });
        stream.end('overloaded');
      }),
  ],
  [
    'an answer without trailers',
    Status.UNKNOWN,
    /without trailers/,
    () =>
      answering((stream) => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
        stream.end(Buffer.alloc(5));
      }),
  ],
  ['trailers without a status', Status.UNKNOWN, /without grpc-status/, ending({ 'x-other': '1' })],
  [
    'a status that is no number',
    Status.UNKNOWN,
    /grpc-status fine, which is no status/,
    ending({ 'grpc-status': 'fine' }),
  ],
  [
    'a status that does not exist',
    Status.UNKNOWN,
    /grpc-status 99, which is no status: odd/,
    ending({ 'grpc-status': '99', 'grpc-message': 'odd' }),
  ],
  [
    'an answer that is cut inside a message',
    Status.INTERNAL,
    /message/,
    () =>
      answering((stream) => {
        stream.respond(
          { ':status': 200, 'content-type': 'application/grpc' },
          { waitForTrailers: true },
        );
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.end(Buffer.from([0, 0, 0, 0, 9, 1]));
      }),
  ],
  [
    'a reset stream',
    Status.INTERNAL,
    /reset the stream with INTERNAL_ERROR/,
    () => answering((stream) => stream.close(2)),
  ],
  [
    'TLS against plaintext',
    Status.UNAVAILABLE,
    /in the TLS handshake; the server may not speak TLS/,
    async () => at((await startServer()).port, { tls: { ca: authority.cert } }),
  ],
  ['plaintext against TLS', Status.UNAVAILABLE, /or only over TLS|speaks TLS/, () => secure()],
  [
    'a certificate that is not trusted',
    Status.UNAVAILABLE,
    /signed by none of the authorities/,
    () => secure(certified, { tls: { ca: stranger.cert } }),
  ],
  [
    'a certificate that has expired',
    Status.UNAVAILABLE,
    /expired/,
    () =>
      secure(serverOf(authority, { notAfter: new Date(Date.now() - 60_000) }), {
        tls: { ca: authority.cert },
      }),
  ],
];

test.each(faults)('%s', async (_what, code, cause, make) => {
  const { target, options } = await make();
  const client = ourClient(target, options);
  const calls = {
    Say: () => client.say({}),
    Collect: () => client.collect([{}]),
    Expand: () => all(client.expand({})),
    Chat: () => all(client.chat([{}])),
  };
  for (const [method, call] of Object.entries(calls)) {
    const error = await statusOf(call());
    const head = `/millrace.echo.v1.Echo/${method} at ${target}: `;
    expect(error.message.slice(0, head.length)).toBe(head);
    expect(error.message.slice(head.length)).toMatch(cause);
    expect([method, error.codeName]).toEqual([
      method,
      Object.keys(Status)[Object.values(Status).indexOf(code)],
    ]);
  }
});

test('a server that vanishes mid-stream', async () => {
  const server = await startServer();
  const { port } = server;
  const client = ourClient(port);
  const chat = client.chat();
  chat.write({ text: 'here' });
  expect((await chat.next()).value?.text).toBe('here');
  const collecting = client.collect();
  collecting.write({ text: 'half' });
  const calls = { Chat: statusOf(chat.next()), Collect: statusOf(collecting.response) };
  server.signal('SIGKILL');
  for (const [method, call] of Object.entries(calls)) {
    const error = await call;
    expect(error.code).toBe(Status.UNAVAILABLE);
    expect(error.message).toContain(`/millrace.echo.v1.Echo/${method} at 127.0.0.1:${port}: `);
    expect(error.message).toMatch(/closed|reset/);
  }
});

test('an rpc named Then or Close, between our two sides', async () => {
  const { say, expand } = Echo.methods;
  const Odd = {
    typeName: 'odd.v1.Odd',
    methods: {
      // As `millrace generate` names them.
      then$: { ...say, name: 'Then', path: '/odd.v1.Odd/Then' },
      close: { ...expand, name: 'Close', path: '/odd.v1.Odd/Close' },
    },
  } as const;
  const odd = service(Odd, {
    then$: async ({ text }) => ({ text: `then ${text}` }),
    async *close({ text }) {
      yield { text: `close ${text}` };
    },
  });
  const server = await serve({
    services: [odd],
    host: '127.0.0.1',
    port: 0,
    signals: false,
    log: { level: 'silent' },
  });
  onTestFinished(() => server.close().then(() => {}));
  const { connection } = ourConnection(server.port);
  const client = connect(Odd, connection);
  expect(await client).toBe(client);
  expect((await client.then$({ text: 'a' })).text).toBe('then a');
  expect(await all(client.close({ text: 'b' }))).toMatchObject([{ text: 'close b' }]);
  expect(connection.state).toBe('ready');
});
