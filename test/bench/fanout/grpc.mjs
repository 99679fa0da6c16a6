// The load of a gRPC service: h2load holds the subscribers and publishes, so that neither is of our
// making, and one subscriber more looks at every event (witness.mjs). h2load counts bytes: its
// subscribers together have to have got what the witness got, times their number.

import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { h2load } from '../h2load.mjs';
import { cpuSeconds, end, GENERATOR_CORE, spawnOn } from '../processes.mjs';
import { publishBody, subscribeBody } from './wire.mjs';

/** @typedef {import('../peers.mjs').Server} Server */
/** @typedef {import('./rows.mjs').FanoutRow} FanoutRow */

const SUBSCRIBED_MS_MAX = 30_000;
const RUN_MS_MAX = 120_000;
const SERVICE = '/millrace.pubsub.v1.PubSub';
/** A PublishReply: `delivered` alone, for a transient topic has no sequence. */
const REPLY_BYTES = (/** @type {number} */ subscribers) => 5 + (subscribers < 128 ? 2 : 3);

/**
 * @typedef {object} Load
 * @property {(messages: number) => Promise<Loaded>} run publishes whole bodies, and waits for the witness
 * @property {readonly number[]} pids of the subscribers' processes
 * @property {() => number} cpuSeconds that subscribers have used so far
 * @property {(endServer: () => Promise<void>) => Promise<void>} verify that everybody got everything:
 *   what the subscribers got, they say when their server has ended
 * @property {() => Promise<void>} stop
 *
 * @typedef {object} Loaded
 * @property {number} messages
 * @property {number} seconds from the first event to the last
 * @property {number} bytes of DATA that a subscriber got
 * @property {number} cpuSeconds of the publisher
 */

/**
 * Subscribes everybody.
 *
 * @param {FanoutRow} row
 * @param {Server} server
 * @param {string} scratch a folder for bodies
 * @returns {Promise<Load>}
 */
export async function grpcLoad(row, server, scratch) {
  const { size, subscribers, window, batch } = row;
  const others = subscribers - 1;
  const publishFile = join(scratch, `publish-${size}-${batch}`);
  const subscribeFile = join(scratch, `subscribe-${window}`);
  const publications = publishBody(size, batch);
  writeFileSync(publishFile, publications);
  writeFileSync(subscribeFile, subscribeBody(window));

  const crowd = spawnOn(
    GENERATOR_CORE,
    'h2load',
    [
      ...['-n', String(others), '-c', String(others), '-m', '1', '-t', '1', '-d', subscribeFile],
      ...['-H', 'content-type: application/grpc', '-H', 'te: trailers'],
      `http://127.0.0.1:${server.port}${SERVICE}/Subscribe`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let output = '';
  crowd.stdout?.setEncoding('latin1').on('data', (text) => {
    output += text;
  });
  const crowdEnded = once(crowd, 'close');
  const witness = spawnOn(
    GENERATOR_CORE,
    process.execPath,
    [
      fileURLToPath(new URL('witness.mjs', import.meta.url)),
      ...[server.port, size, batch, window].map(String),
    ],
    { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
  );
  const witnessEnded = once(witness, 'exit');

  /** @param {string} kind @param {number} timeoutMs */
  async function answer(kind, timeoutMs) {
    const done = new AbortController();
    const signal = AbortSignal.any([done.signal, AbortSignal.timeout(timeoutMs)]);
    const gone = witnessEnded.then(() => {
      throw new Error(`the witness of ${server.peer} ended; see above`);
    });
    gone.catch(() => {});
    const said = once(witness, 'message', { signal });
    said.catch(() => {});
    try {
      const [message] = await Promise.race([said, gone]);
      if (message.kind !== kind) throw new Error(`the witness said ${message.kind}`);
      return message;
    } catch (error) {
      throw new Error(`${server.peer}, ${row.title}: waited for the witness`, { cause: error });
    } finally {
      done.abort();
    }
  }

  await answer('subscribed', SUBSCRIBED_MS_MAX);
  for (const until = performance.now() + SUBSCRIBED_MS_MAX; ; ) {
    const { subscribers: present } = await server.stats();
    if (present === subscribers) break;
    if (performance.now() > until) {
      throw new Error(`${server.peer}: ${present} of ${subscribers} have subscribed`);
    }
    await sleep(50);
  }

  const pids = [crowd.pid ?? 0, witness.pid ?? 0];
  let published = 0;
  let bytesBefore = 0;
  return {
    async run(messages) {
      const requests = Math.max(1, Math.round(messages / batch));
      published += requests * batch;
      const reached = answer('reached', RUN_MS_MAX);
      reached.catch(() => {});
      witness.send({ until: published });
      const sent = await h2load({
        port: server.port,
        path: `${SERVICE}/PublishStream`,
        bodyFile: publishFile,
        replyBytes: batch * REPLY_BYTES(subscribers),
        connections: 1,
        streams: 1,
        requests,
        timeoutMs: RUN_MS_MAX,
      });
      const { messages: seen, bytes: bytesInAll, seconds } = await reached;
      if (seen !== published) throw new Error(`the witness saw ${seen} of ${published} events`);
      const bytes = bytesInAll - bytesBefore;
      bytesBefore = bytesInAll;
      const spent = sent.busy * sent.seconds;
      return { messages: requests * batch, seconds, bytes, cpuSeconds: spent };
    },
    pids,
    cpuSeconds: () => pids.reduce((sum, pid) => sum + (cpuSeconds(pid) ?? 0), 0),
    async verify(endServer) {
      await end(witness);
      await endServer();
      await crowdEnded;
      const received = Number(/^traffic: .* \((\d+)\) data/m.exec(output)?.[1]);
      if (received !== bytesBefore * others) {
        throw new Error(
          `${server.peer}, ${row.title}: ${others} subscribers received ${received} bytes where ${bytesBefore} each were due:\n${output}`,
        );
      }
    },
    async stop() {
      await Promise.all([end(crowd), end(witness)]);
    },
  };
}
