// `npm run demo`: from a fresh clone to running services. Builds what is stale, starts
// examples/echo, calls it with a gRPC client that is not ours, streams real traffic for a few
// seconds while comparing every byte that comes back, and says what it saw. Then examples/pubsub, with
// subscribers of which two do not keep up.

import { once } from 'node:events';
import { connect, constants } from 'node:http2';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { showPubSub } from './demo/pubsub.mjs';
import { startExample } from './demo/service.mjs';
import { setup } from './setup.mjs';
import { bold, dim, Failure, main, root, say } from './steps.mjs';

const SERVICE = 'millrace.echo.v1.Echo';
const TRAFFIC_MS = 2500;
const CONNECTIONS = 4;
const MESSAGE_DATA_BYTES = 44;
const MESSAGES_PER_WRITE = 800;
const WINDOW_BYTES = 1 << 20;

await main(async () => {
  await setup();
  const service = await startExample('echo');
  try {
    say(`\n${bold('Echo is listening')} on 127.0.0.1:${service.port}, driver ${service.driver}`);
    if (service.reason !== undefined) say(dim(`  ${service.reason}`));

    say(`\n${bold('Every kind of method, called with @grpc/grpc-js')}`);
    await callEachKind(service.port);

    say(
      `\n${bold('Traffic')} ${dim(`${CONNECTIONS} connections, messages of 64 bytes, every reply compared`)}`,
    );
    const chat = await traffic(service.port, 'Chat');
    const fast = await traffic(service.port, 'ChatFast');
    const stats = await service.stats();
    await service.stop();
    printTable(service.driver, chat, fast, stats);
  } finally {
    service.kill();
  }
  await showPubSub();
  say(`
The services ended by themselves when asked (SIGTERM drains them). Next:
  npm start -w examples/echo        serve it, and read examples/echo/src/services.ts meanwhile
  npm start -w examples/pubsub      the same for publish and subscribe; examples/pubsub/README.md
  npm test                          what holds all of this up
  npm run bench -- --quick          how it compares with @grpc/grpc-js on this machine`);
});

/** @param {number} port */
async function callEachKind(port) {
  // Installed by `setup`, so not to be imported before it.
  const require = createRequire(join(root, 'test/package.json'));
  /** @type {typeof import('@grpc/grpc-js')} */
  const grpc = require('@grpc/grpc-js');
  /** @type {typeof import('@grpc/proto-loader')} */
  const loader = require('@grpc/proto-loader');
  const proto = join(root, 'protos/millrace/echo/v1/echo.proto');
  const definition = loader.loadSync(proto, { longs: String, defaults: true })[SERVICE];
  const Client = grpc.makeGenericClientConstructor(
    /** @type {import('@grpc/grpc-js').ServiceDefinition} */ (definition),
    SERVICE,
  );
  const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  const messages = ['one', 'two', 'three'].map((text) => ({ text, data: Buffer.from(text) }));

  /** @param {(done: (error: Error | null, value: unknown) => void) => any} begin */
  const reply = (begin) =>
    new Promise((resolve, reject) => {
      const call = begin((error, value) => (error === null ? resolve(value) : reject(error)));
      if (call.write !== undefined) sendAll(call);
    });
  /** @param {any} call */
  const sendAll = (call) => {
    for (const message of messages) call.write(message);
    call.end();
  };
  /** @param {any} call */
  const received = async (call) => {
    const all = [];
    for await (const message of call) all.push(message);
    return all;
  };
  /** @param {string} method */
  const chat = (method) => {
    const call = client[method]?.();
    sendAll(call);
    return received(call);
  };

  /** @type {[string, () => Promise<unknown>, unknown][]} */
  const checks = [
    [
      'Say       one message there, one back',
      () => reply((done) => client['Say']?.(messages[0], done)),
      messages[0],
    ],
    [
      'Collect   a stream there, one message back',
      () => reply((done) => client['Collect']?.(done)),
      { count: '3', bytes: '11' },
    ],
    [
      'Expand    one message there, a stream back',
      () => received(client['Expand']?.({ count: 3, ...messages[0] })),
      [messages[0], messages[0], messages[0]],
    ],
    ['Chat      streams both ways, an async generator', () => chat('Chat'), messages],
    ['ChatFast  streams both ways, callbacks', () => chat('ChatFast'), messages],
  ];
  try {
    for (const [title, call, expected] of checks) {
      const answer = await call();
      if (JSON.stringify(answer) !== JSON.stringify(expected)) {
        throw new Failure(`${title}: answered ${JSON.stringify(answer)}`);
      }
      say(`  ✓ ${title}`);
    }
  } finally {
    client.close();
  }
}

/**
 * Streams the same write over and over, on several connections, for a few seconds. Echo gives back
 * the bytes it got, so the replies are one long repetition of that write.
 *
 * @param {number} port
 * @param {string} method
 * @returns {Promise<number>} messages per second, there and back
 */
async function traffic(port, method) {
  const write = Buffer.concat(Array.from({ length: MESSAGES_PER_WRITE }, (_, n) => framed(n)));
  const start = performance.now();
  const counts = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => stream(port, method, write, start + TRAFFIC_MS)),
  );
  const elapsed = (performance.now() - start) / 1000;
  return (counts.reduce((sum, count) => sum + count, 0) * MESSAGES_PER_WRITE) / elapsed;
}

/**
 * @param {number} number
 * @returns {Buffer} an EchoRequest of 64 bytes behind gRPC's prefix
 */
function framed(number) {
  const text = String(number).padStart(16, '0');
  const data = Buffer.alloc(MESSAGE_DATA_BYTES, number & 0xff);
  const message = Buffer.concat([
    Buffer.from([(1 << 3) | 2, text.length]),
    Buffer.from(text),
    Buffer.from([(2 << 3) | 2, data.length]),
    data,
  ]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/**
 * @param {number} port
 * @param {string} method
 * @param {Buffer} write
 * @param {number} until
 * @returns {Promise<number>} how often `write` went there and came back
 */
async function stream(port, method, write, until) {
  const session = connect(`http://127.0.0.1:${port}`, {
    settings: { initialWindowSize: WINDOW_BYTES },
  });
  try {
    await once(session, 'connect');
    session.setLocalWindowSize(WINDOW_BYTES);
    const call = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: `/${SERVICE}/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    let bytes = 0;
    call.on('data', (/** @type {Buffer} */ chunk) => {
      for (let at = 0; at < chunk.length; ) {
        const from = bytes % write.length;
        const length = Math.min(chunk.length - at, write.length - from);
        if (write.compare(chunk, at, at + length, from, from + length) !== 0) {
          call.destroy(new Failure(`${method} did not answer with the bytes it was sent.`));
          return;
        }
        at += length;
        bytes += length;
      }
    });
    const ended = once(call, 'end');
    const trailers = once(call, 'trailers');
    ended.catch(() => {});
    trailers.catch(() => {});
    let writes = 0;
    while (performance.now() < until) {
      writes++;
      if (!call.write(write)) await once(call, 'drain');
    }
    call.end();
    const [{ 'grpc-status': status }] = await trailers;
    await ended;
    if (status !== '0' || bytes !== writes * write.length) {
      throw new Failure(
        `${method} ended with status ${status} after ${bytes} of ${writes * write.length} bytes.`,
      );
    }
    return writes;
  } finally {
    session.destroy();
  }
}

/**
 * @param {string} driver
 * @param {number} chat
 * @param {number} fast
 * @param {Record<string, any> | undefined} stats
 */
function printTable(driver, chat, fast, stats) {
  /** @param {number} value */
  const count = (value) => Math.round(value).toLocaleString('en');
  /** @type {[string, string, string][]} */
  const rows = [
    ['Chat', `${count(chat)} messages/s`, 'echoed by an async generator'],
    ['ChatFast', `${count(fast)} messages/s`, 'echoed by callbacks'],
    ['driver', driver, 'how bytes move between kernel and process'],
  ];
  if (stats !== undefined) {
    rows.push(
      [
        'ring depth, lowest',
        `${count(stats['ringLowestFree'])} of ${count(stats['ringBuffers'])} buffers free`,
        'near 0 the service would slow its peers down',
      ],
      [
        'bytes per bundle',
        count(stats['sentBytes'] / Math.max(1, stats['sends'])),
        'replies that left together in one send',
      ],
      [
        'messages per batch',
        count(stats['records'] / Math.max(1, stats['batches'])),
        'that crossed into JavaScript in one call',
      ],
    );
  }
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  say('');
  for (const [name, value, meaning] of rows) {
    say(
      `  ${name.padEnd(widths[0] ?? 0)}  ${bold(value.padStart(widths[1] ?? 0))}  ${dim(meaning)}`,
    );
  }
  say(
    dim(
      '  The client shares the machine with the service; npm run bench gives each a core of its own.',
    ),
  );
}
