// Our client over TLS, to our server and to grpc-js's.

import { Status } from 'millrace';
import { describe, expect, test } from 'vitest';
import { makeAuthority, makeCertificate, serverOf } from '../support/certificates/make.js';
import { grpc } from '../support/echo-client.js';
import { honest, startForeign } from '../support/foreign-server.js';
import { all, ourClient, statusOf } from '../support/our-client.js';
import { startServer } from '../support/server.js';

const { authority, server: certified } = makeAuthority();
const { cert, key } = certified;
const ca = authority.cert;

const startOurs = (tls: object = {}) => startServer({ serve: { tls: { cert, key, ...tls } } });
const servers: [string, () => Promise<{ port: number }>][] = [
  ['ours', startOurs],
  [
    'grpc-js',
    () =>
      startForeign(
        honest,
        0,
        {},
        grpc.ServerCredentials.createSsl(null, [
          { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) },
        ]),
      ),
  ],
];

describe.each(servers)('a server of %s', (_whose, start) => {
  test('all kinds of calls', async () => {
    const { port } = await start();
    const client = ourClient(port, { tls: { ca } });
    const data = new Uint8Array(100_000).fill(7);
    const large = await client.say({ text: 'large', data });
    expect(large.text).toBe('large');
    expect(Buffer.from(large.data).equals(Buffer.from(data))).toBe(true);
    expect((await all(client.expand({ count: 500, text: 'x' }))).length).toBe(500);
    expect(await client.collect(Array.from({ length: 50 }, () => ({ data })))).toMatchObject({
      count: 50n,
      bytes: 5_000_000n,
    });
    const replies = await Promise.all(
      Array.from({ length: 300 }, (_, index) => client.say({ text: String(index) })),
    );
    expect(replies.map(({ text }) => text)).toEqual(replies.map((_, index) => String(index)));
  });

  test('a server that is not trusted, or is another, is not called', async () => {
    const { port } = await start();
    const stranger = makeAuthority().authority.cert;
    const untrusted = await statusOf(ourClient(port, { tls: { ca: stranger } }).say({}));
    expect(untrusted.code).toBe(Status.UNAVAILABLE);
    expect(untrusted.message).toMatch(/signed by none of the authorities/);
    const misnamed = await statusOf(
      ourClient(port, { tls: { ca, serverName: 'other.example' } }).say({}),
    );
    expect(misnamed.code).toBe(Status.UNAVAILABLE);
    expect(misnamed.message).toMatch(/other\.example/);
    const named = ourClient(port, { tls: { ca, serverName: 'localhost' } });
    expect((await named.say({ text: 'named' })).text).toBe('named');
  });
});

test('a client says who it is', async () => {
  const server = await startOurs({ ca, clientCertificate: 'require' });
  const me = makeCertificate({ name: 'billing', issuer: authority });
  const client = ourClient(server.port, { tls: { ca, cert: me.cert, key: me.key } });
  expect((await client.say({ text: 'in' })).text).toBe('in');
  const nobody = await statusOf(ourClient(server.port, { tls: { ca } }).say({}));
  expect(nobody.code).toBe(Status.UNAVAILABLE);
});

test('an expired server certificate is named', async () => {
  const soon = serverOf(authority, { notAfter: new Date(Date.now() - 60_000) });
  const { port } = await startForeign(
    honest,
    0,
    {},
    grpc.ServerCredentials.createSsl(null, [
      { cert_chain: Buffer.from(soon.cert), private_key: Buffer.from(soon.key) },
    ]),
  );
  const expired = await statusOf(ourClient(port, { tls: { ca } }).say({}));
  expect(expired.code).toBe(Status.UNAVAILABLE);
  expect(expired.message).toMatch(/expired/);
});

test('TLS against plaintext, and the other way round', async () => {
  const plain = await startServer();
  const toPlain = await statusOf(ourClient(plain.port, { tls: { ca } }).say({}));
  expect(toPlain.code).toBe(Status.UNAVAILABLE);
  expect(toPlain.message).toContain(String(plain.port));
  const secure = await startOurs();
  const toSecure = await statusOf(ourClient(secure.port).say({}));
  expect(toSecure.code).toBe(Status.UNAVAILABLE);
  expect(toSecure.message).toContain(String(secure.port));
  expect(toSecure.message).toContain('connect with TLS credentials');
  await secure.logMatching(/speaks HTTP\/2 without TLS/);
});

test('certificates that cannot be used fail the calls with the reason', async () => {
  const { port } = await startOurs();
  const wrong = await statusOf(ourClient(port, { tls: { ca, cert, key: authority.key } }).say({}));
  expect(wrong.message).toMatch(/key does not belong/);
  expect(() => ourClient(port, { tls: { ca: '/nowhere/ca.pem' } })).toThrow(/MILLRACE_TLS_FILE/);
});
