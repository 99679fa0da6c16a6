// TLS: independent clients get through, certificates change while calls run, and whoever is wrong is
// told why.

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectPlain, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  type Made,
  makeAuthority,
  makeCertificate,
  serverOf,
} from '../support/certificates/make.js';
import {
  assertEchoed,
  chat,
  clientOf,
  collect,
  type EchoClient,
  expand,
  failure,
  grpc,
  openChat,
  say,
} from '../support/echo-client.js';
import { eventually } from '../support/eventually.js';
import { type StartOptions, startServer, type TestServer } from '../support/server.js';
import { total } from '../support/stats.js';

const { authority, server: certified } = makeAuthority();
const pair = ({ cert, key }: Made) => ({ cert, key });

function startTls(tls: object = {}, options: StartOptions = {}): Promise<TestServer> {
  return startServer({
    ...options,
    serve: { ...options.serve, tls: { ...pair(certified), ...tls } },
  });
}

function secureClient(server: TestServer, client?: Made, ca = authority.cert): EchoClient {
  const credentials = grpc.credentials.createSsl(
    Buffer.from(ca),
    client === undefined ? null : Buffer.from(client.key),
    client === undefined ? null : Buffer.from(client.cert),
  );
  return clientOf(server, {}, credentials);
}

/** A raw TLS connection, closed when the test is finished. */
async function secureSocket(port: number, options: object = {}): Promise<TLSSocket> {
  const socket = connectTls({
    port,
    host: '127.0.0.1',
    ca: authority.cert,
    ALPNProtocols: ['h2'],
    ...options,
  });
  onTestFinished(() => void socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

async function plainSocket(port: number): Promise<Socket> {
  const socket = connectPlain(port, '127.0.0.1');
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** Resolves when a socket is closed, by a reset too. */
function closed(socket: Socket): Promise<void> {
  socket.resume();
  return new Promise((resolve) => socket.on('close', () => resolve()));
}

/** Everything that a socket receives until it ends. */
async function received(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(piece));
  await closed(socket);
  return Buffer.concat(pieces);
}

describe('grpc-js over TLS', () => {
  test.each(['TLSv1.3', 'TLSv1.2'] as const)('all kinds of calls, %s', async (version) => {
    const server = await startTls();
    const start = await server.stats();
    const credentials = grpc.credentials.createFromSecureContext(
      (await import('node:tls')).createSecureContext({
        ca: authority.cert,
        minVersion: version,
        maxVersion: version,
      }),
    );
    const client = clientOf(server, {}, credentials);
    const data = Buffer.from([0, 1, 254, 255]);
    expect(await say(client, { text: 'ä€😀', data })).toEqual({ text: 'ä€😀', data });
    expect(await collect(client, [{ data }, {}, { text: 'x', data }])).toEqual({
      count: '3',
      bytes: '8',
    });
    expect(await expand(client, { count: 3, text: 'e', data })).toHaveLength(3);
    const messages = Array.from({ length: 2000 }, (_, index) => ({ text: `${index}`, data }));
    assertEchoed(await chat(client, 'chat', messages), messages);
    const large = { text: 'x', data: Buffer.alloc(3_900_000, 'large') };
    assertEchoed([await say(client, large)], [large]);
    assertEchoed(await chat(client, 'chatFast', [large, large]), [large, large]);
    client.close();
    await server.backAt(start);
    expect(total(await server.stats(), 'tlsHandshakes')).toBe(1);
  });

  test('many connections and calls at once, on two threads', async () => {
    const server = await startTls({}, { threads: 2 });
    const start = await server.stats();
    const clients = Array.from({ length: 20 }, () => secureClient(server));
    const texts = Array.from({ length: 1000 }, (_, index) => `call ${index}`);
    const replies = await Promise.all(
      texts.map((text, index) => say(clients[index % clients.length]!, { text })),
    );
    expect(replies.map(({ text }) => text)).toEqual(texts);
    for (const client of clients) client.close();
    await server.backAt(start);
  });

  test('a stream that is not read holds its peer back, and all memory returns', async () => {
    const server = await startTls({}, { limits: { bufferedBytesMax: 8 * 1024 * 1024 } });
    const start = await server.stats();
    const client = secureClient(server);
    const stalled = openChat(client, 'chat', { mode: 'gate' });
    stalled.on('error', () => {});
    const data = Buffer.alloc(16_000);
    let sent = 0;
    // Until the window is full and write() says so for good.
    for (; sent < 1000 && stalled.write({ data }); sent++);
    await say(client, { text: 'a neighbour goes on' });
    expect(total(await server.stats(), 'bufferedBytes')).toBeLessThanOrEqual(8 * 1024 * 1024);
    stalled.cancel();
    await server.release();
    client.close();
    await server.backAt(start);
  });

  test('a drain ends a connection with close_notify', async () => {
    const server = await startTls();
    const socket = await secureSocket(server.port);
    socket.resume();
    const ended = once(socket, 'end');
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    const closing = server.close();
    // Node reports a connection without close_notify as an error, not as an end.
    await ended;
    expect(await closing).toEqual({ completed: 0, aborted: 0 });
  });
});

describe('mutual TLS', () => {
  const client = makeCertificate({
    name: 'billing',
    alternativeNames: ['billing.example', 'spiffe://example.org/billing'],
    issuer: authority,
  });
  const stranger = makeCertificate({ name: 'stranger', issuer: makeAuthority().authority });

  async function identityOf(client: EchoClient): Promise<unknown> {
    const trailers = await new Promise<grpc.Metadata>((resolve, reject) => {
      const metadata = new grpc.Metadata();
      metadata.set('mode', 'metadata');
      const call = client.say({}, metadata, {}, (error) => error && reject(error));
      call.on('status', (status) => resolve(status.metadata));
    });
    return JSON.parse(String(trailers.get('x-identity')[0]));
  }

  test('the handler knows who calls', async () => {
    const server = await startTls({ ca: authority.cert, clientCertificate: 'require' });
    expect(await identityOf(secureClient(server, client))).toMatchObject({
      subject: 'CN=billing',
      issuer: `CN=${authority.name}`,
      dnsNames: ['billing.example'],
      uris: ['spiffe://example.org/billing'],
      fingerprint256: client.fingerprint256,
    });
  });

  test('required: none, or one of a stranger, ends the handshake, and the log says why', async () => {
    const server = await startTls({ ca: authority.cert, clientCertificate: 'require' });
    expect((await failure(say(secureClient(server), {}))).code).toBe(grpc.status.UNAVAILABLE);
    await server.logMatching(/the client presented no certificate/);
    expect((await failure(say(secureClient(server, stranger), {}))).code).toBe(
      grpc.status.UNAVAILABLE,
    );
    await server.logMatching(/signed by none of the authorities/);
    expect(await say(secureClient(server, client), { text: 'in' })).toMatchObject({ text: 'in' });
  });

  test('requested: without one a client is nobody, with a wrong one it is refused', async () => {
    const server = await startTls({ ca: authority.cert, clientCertificate: 'request' });
    expect(await identityOf(secureClient(server))).toBe(null);
    expect(await identityOf(secureClient(server, client))).toMatchObject({ subject: 'CN=billing' });
    expect((await failure(say(secureClient(server, stranger), {}))).code).toBe(
      grpc.status.UNAVAILABLE,
    );
  });
});

describe('certificates change', () => {
  function files(): { folder: string; put(made: Made): void; tls: object } {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-tls-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const write = (name: string, text: string) => {
      writeFileSync(join(folder, `${name}.new`), text);
      renameSync(join(folder, `${name}.new`), join(folder, name));
    };
    return {
      folder,
      put: ({ cert, key }) => {
        write('cert.pem', cert);
        write('key.pem', key);
      },
      tls: { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') },
    };
  }

  const presented = async (port: number) => {
    const socket = await secureSocket(port);
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.destroy();
    return fingerprint256;
  };

  test.each([1, 2])('reloadTls() under load, %i thread(s)', async (threads) => {
    const place = files();
    place.put(certified);
    const server = await startServer({ threads, serve: { tls: place.tls } });
    const client = secureClient(server);
    let running = true;
    let calls = 0;
    const load = (async () => {
      while (running) {
        const fresh = calls % 10 === 0 ? secureClient(server) : client;
        expect((await say(fresh, { text: `${calls}` })).text).toBe(`${calls}`);
        if (fresh !== client) fresh.close();
        calls++;
      }
    })();
    for (let round = 0; round < 5; round++) {
      const next = serverOf(authority);
      place.put(next);
      await server.reloadTls();
      expect(await presented(server.port)).toBe(next.fingerprint256);
    }
    running = false;
    await load;
    expect(calls).toBeGreaterThan(0);
  });

  test('a pair that does not fit is refused, and the old one stays', async () => {
    const place = files();
    place.put(certified);
    const server = await startServer({ serve: { tls: place.tls } });
    place.put({ ...serverOf(authority), key: certified.key });
    await expect(server.reloadTls()).rejects.toThrow('key does not belong');
    expect(await presented(server.port)).toBe(certified.fingerprint256);
  });

  test('watched files are reloaded by themselves', async () => {
    const place = files();
    place.put(certified);
    const server = await startServer({ serve: { tls: { ...place.tls, watchMs: 20 } } });
    const next = serverOf(authority);
    place.put(next);
    await eventually(
      'the new certificate',
      () => presented(server.port),
      (fingerprint) => fingerprint === next.fingerprint256,
    );
  });
});

describe('what cannot work is said at the start', () => {
  const expired = serverOf(authority, { notAfter: new Date(Date.now() - 1000) });
  const later = serverOf(authority, { notBefore: new Date(Date.now() + 3_600_000) });
  test.each([
    ['a key of another certificate', { key: authority.key }, /key does not belong to the first/],
    ['an expired certificate', pair(expired), /CN=server\) expired at .*get a new one/],
    ['a certificate of the future', pair(later), /is valid from .* on only; check this machine/],
    ['a key as certificate', { cert: certified.key }, /cert has no certificate \(it holds a priv/],
    ['a certificate as key', { key: certified.cert }, /key has no private key \(it holds a cert/],
    ['no such file', { cert: '/nowhere/cert.pem' }, /MILLRACE_TLS_FILE/],
    ['no authorities', { clientCertificate: 'require' }, /go together/],
    ['an unknown option', { passphrase: 'x' }, /tls has no option "passphrase"/],
  ])('%s', async (_, tls, text) => {
    await expect(startTls(tls)).rejects.toThrow(text);
  });
});

describe('whoever does not speak TLS', () => {
  test('an h2c client gets a GOAWAY that names the remedy', async () => {
    const server = await startTls();
    const session = connectHttp2(`http://127.0.0.1:${server.port}`);
    onTestFinished(() => session.destroy());
    session.on('error', () => {});
    const [code, data] = await new Promise<[number, string]>((resolve) => {
      session.on('goaway', (code, _, data) => resolve([code, String(data)]));
    });
    expect(code).toBe(0xc);
    expect(data).toMatch(/connect with TLS/);
    await server.logMatching(/speaks HTTP\/2 without TLS/);
  });

  test('an HTTP/1.1 client gets an answer', async () => {
    const server = await startTls();
    const socket = await plainSocket(server.port);
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(String(await received(socket))).toMatch(/^HTTP\/1\.1 400 [\s\S]*gRPC over TLS/);
    await server.logMatching(/speaks HTTP\/1\.x without TLS/);
  });

  test('garbage, and a handshake that breaks off, end alone', async () => {
    const server = await startTls();
    const start = await server.stats();
    const client = secureClient(server);
    await say(client, {});
    for (const bytes of [
      Buffer.from([0, 1, 2, 3]),
      Buffer.from([0x16, 3, 1, 0xff, 0xff, 1, 2, 3]),
      Buffer.concat([Buffer.from([0x16, 3, 1, 0, 200]), Buffer.alloc(200, 0x7f)]),
    ]) {
      const socket = await plainSocket(server.port);
      socket.end(bytes);
      await closed(socket);
    }
    expect(await say(client, { text: 'still here' })).toMatchObject({ text: 'still here' });
    client.close();
    await server.backAt(start);
  });

  test('a TLS client on a port without TLS is named in the log', async () => {
    const server = await startServer();
    const socket = connectTls({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false });
    onTestFinished(() => void socket.destroy());
    await once(socket, 'error');
    await server.logMatching(/a TLS client came to this port, which has no TLS/);
  });

  test('without ALPN there is no gRPC', async () => {
    const server = await startTls();
    const socket = await secureSocket(server.port, { ALPNProtocols: undefined });
    await closed(socket);
    await server.logMatching(/does not negotiate HTTP\/2 by ALPN/);
    await expect(secureSocket(server.port, { ALPNProtocols: ['http/1.1'] })).rejects.toThrow(
      /alert/,
    );
    await server.logMatching(/does not offer HTTP\/2 by ALPN/);
  });

  test('a handshake that stalls is cut', async () => {
    const server = await startTls({}, { limits: { handshakeTimeoutMs: 300 } });
    const socket = await plainSocket(server.port);
    socket.write(Buffer.from([0x16, 3, 1, 0, 200, 1, 0]));
    await closed(socket);
    await server.logMatching(/the TLS handshake was not over after 0.3 seconds/);
  });
});

test('one byte at a time', async () => {
  const server = await startTls();
  // A relay between client and server that passes single bytes on.
  const relay = createServer((client) => {
    const upstream = connectPlain(server.port, '127.0.0.1');
    upstream.setNoDelay(true);
    client.setNoDelay(true);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('data', (piece: Buffer) => {
        for (const byte of piece) to.write(Buffer.of(byte));
      });
      from.on('error', () => {});
      from.on('close', () => to.destroy());
    }
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  onTestFinished(() => void relay.close());
  const { port } = relay.address() as { port: number };
  const client = clientOf({ port }, {}, grpc.credentials.createSsl(Buffer.from(authority.cert)));
  expect(await say(client, { text: 'slow' })).toMatchObject({ text: 'slow' });
  client.close();
});

test('h2load over TLS: all requests succeed', async (context) => {
  const run = promisify(execFile);
  const present = await run('h2load', ['--version']).then(
    () => true,
    () => false,
  );
  if (!present) {
    console.warn('SKIPPED: h2load over TLS: install nghttp2-client');
    return context.skip('h2load is not installed');
  }
  const server = await startTls();
  const start = await server.stats();
  const folder = mkdtempSync(join(tmpdir(), 'millrace-h2load-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const body = join(folder, 'body');
  writeFileSync(body, Buffer.from([0, 0, 0, 0, 4, 10, 2, 104, 105]));
  const { stdout } = await run('h2load', [
    ...['-n', '20000', '-c', '8', '-m', '20', '-d', body],
    ...['-H', 'content-type: application/grpc', '-H', 'te: trailers'],
    `https://127.0.0.1:${server.port}/millrace.echo.v1.Echo/Say`,
  ]);
  expect(stdout).toMatch(/20000 succeeded, 0 failed, 0 errored/);
  const stats = await server.stats();
  expect(total(stats, 'callsOk')).toBe(20_000);
  await server.backAt(start);
});

test('a public address without TLS is warned of, once; with TLS it is not', async () => {
  const open = await startServer({ serve: { host: '0.0.0.0' } });
  await open.logMatching(/without TLS on an address that others may reach/);
  const secure = await startTls({}, { serve: { host: '0.0.0.0' } });
  await say(secureClient(secure), {});
  expect(secure.logs.some(({ msg }) => /without TLS/.test(msg))).toBe(false);
});
