// A call whose deadline passes says what its time went to, as far as a client can know.

import type { ServerHttp2Stream } from 'node:http2';
import { type ConnectionOptions, Status, type StatusError } from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { startHttp2 } from '../support/http2-server.js';
import { all, type OurClient, ourClient, ourConnection, statusOf } from '../support/our-client.js';

const HEAD = { ':status': 200, 'content-type': 'application/grpc' } as const;

/** Headers, one message, and nothing more. */
function beginning(stream: ServerHttp2Stream): void {
  stream.respond(HEAD);
  stream.write(Buffer.from([0, 0, 0, 0, 3, 10, 1, 97]));
}

function silent(): void {}

/** A client that is connected: its calls need none of their time for that. */
async function connected(port: number, options?: ConnectionOptions): Promise<OurClient> {
  const { client, connection } = ourConnection(port, options);
  connection.connect();
  await eventually('the connection', () => connection.state === 'ready');
  return client;
}

/** Returns the milliseconds that `message` has in groups. */
function expectLate(error: StatusError, method: string, target: string, message: RegExp): number[] {
  expect(error.code).toBe(Status.DEADLINE_EXCEEDED);
  const head = `/millrace.echo.v1.Echo/${method} at ${target}: `;
  expect(error.message.slice(0, head.length)).toBe(head);
  const rest = error.message.slice(head.length);
  expect(rest).toMatch(message);
  const groups = message.exec(rest)?.slice(1) ?? [];
  return groups.map((digits: string | undefined) => (digits === undefined ? 0 : Number(digits)));
}

test('an answer that does not come', async () => {
  const port = await startHttp2(silent);
  const error = await statusOf(ourClient(port).say({}, { timeoutMs: 1000 }));
  const parts =
    /^the deadline passed: (\d+) ms waiting for a stream, (\d+) ms waiting for the server's answer(?:; (\d+) ms before that waiting for a connection)?$/;
  const [stream, answer, connection] = expectLate(error, 'Say', `127.0.0.1:${port}`, parts);
  expect(stream! + answer! + connection!).toBeGreaterThanOrEqual(990);
  expect(answer).toBeGreaterThan(stream!);
});

test('an answer that begins and does not end', async () => {
  const port = await startHttp2(beginning);
  const client = await connected(port);
  const read = await statusOf(all(client.expand({}, { timeoutMs: 1000 })));
  const since = /ms until the server's answer began, \d+ ms since then/;
  expectLate(read, 'Expand', `127.0.0.1:${port}`, since);
  // One that nobody has read is still there, and then the status.
  const unread = client.expand({}, { timeoutMs: 1000 });
  await unread.trailers;
  expect((await unread.next()).value).toMatchObject({ text: 'a' });
  const error = await statusOf(unread.next());
  expectLate(error, 'Expand', `127.0.0.1:${port}`, /messages that are here and not read: 1/);
});

test('a request that the server does not let in', async () => {
  const port = await startHttp2(silent);
  const client = await connected(port);
  const call = client.chat(undefined, { timeoutMs: 1000 });
  for (let count = 0; count < 8; count++) call.write({ data: new Uint8Array(20_000) });
  const error = await statusOf(call.next());
  expectLate(
    error,
    'Chat',
    `127.0.0.1:${port}`,
    /\d+ bytes of the request wait for the server's window/,
  );
});

test('a server that allows no further stream', async () => {
  const port = await startHttp2(beginning, { maxConcurrentStreams: 1 });
  const client = ourClient(port);
  const first = client.expand({});
  await first.next();
  const error = await statusOf(client.say({}, { timeoutMs: 150 }));
  const [waited] = expectLate(
    error,
    'Say',
    `127.0.0.1:${port}`,
    /^the deadline passed: (\d+) ms waiting for one of the 1 streams that the server allows at once; nothing was sent/,
  );
  expect(waited).toBeGreaterThan(100);
  first.cancel();
});

test('a target that is not resolved in time', async () => {
  let answer: (addresses: string[]) => void = () => {};
  const client = ourClient('dns:slow.invalid:50051', {
    lookup: () => new Promise((resolve) => (answer = resolve)),
  });
  onTestFinished(() => answer(['127.0.0.1']));
  const error = await statusOf(client.say({}, { timeoutMs: 100 }));
  expectLate(
    error,
    'Say',
    'dns:slow.invalid:50051',
    /^the deadline passed while the call waited for its target to be resolved, for \d+ ms$/,
  );
});

test('attempts that came before', async () => {
  let calls = 0;
  const port = await startHttp2((stream) => {
    if (++calls < 3) {
      const status = { 'grpc-status': '14', 'grpc-message': `not now ${calls}` };
      stream.respond({ ...HEAD, ...status }, { endStream: true });
    }
  });
  const client = await connected(port, {
    serviceConfig: {
      methodConfig: [
        {
          name: [{}],
          retryPolicy: {
            maxAttempts: 4,
            initialBackoff: '0.01s',
            maxBackoff: '0.01s',
            backoffMultiplier: 1,
            retryableStatusCodes: ['UNAVAILABLE'],
          },
        },
      ],
    },
  });
  const error = await statusOf(client.say({}, { timeoutMs: 2000 }));
  expectLate(
    error,
    'Say',
    `127.0.0.1:${port}`,
    /waiting for the server's answer; \d+ ms before that in 2 attempts, the last of which ended with UNAVAILABLE: not now 2$/,
  );
});

test('what a server says of the deadline is kept, with its trailers', async () => {
  const port = await startHttp2((stream) => {
    const status = { 'grpc-status': '4', 'grpc-message': 'the database was slow' };
    stream.respond({ ...HEAD, ...status, 'x-so-far': 'half' }, { endStream: true });
  });
  const error = await statusOf(ourClient(port).say({}, { timeoutMs: 5000 }));
  expectLate(error, 'Say', `127.0.0.1:${port}`, /^the server says: the database was slow$/);
  expect(error.metadata.get('x-so-far')).toBe('half');
});
