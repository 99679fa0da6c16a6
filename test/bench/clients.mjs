// Clients against each other: the same work against the same kind of server, Millrace's, in turns.

import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { start } from './peers.mjs';
import { end, GENERATOR_CORE, spawnOn } from './processes.mjs';

/** @typedef {import('./peers.mjs').PeerName} PeerName */

/**
 * @typedef {object} ClientResult
 * @property {string} row
 * @property {PeerName} peer
 * @property {number} round
 * @property {number} messagesPerSecond
 * @property {number} cpuMicroseconds the client's, per message
 */

/** @type {Partial<Record<PeerName, { file: string, env: Record<string, string> }>>} */
const clients = {
  'grpc-js': { file: 'client/grpc-js.mjs', env: {} },
  millrace: { file: 'client/millrace.mjs', env: {} },
  portable: { file: 'client/millrace.mjs', env: { MILLRACE_DRIVER: 'portable' } },
};

export const clientRows = [
  { name: 'client-unary', title: 'Say, 64 B, 128 calls at a time', kind: 'unary' },
  { name: 'client-chat', title: 'Chat, 64 B, 8 streams × 1,000', kind: 'chat' },
];

/**
 * @param {readonly PeerName[]} peers
 * @param {number} rounds
 * @param {number} seconds
 * @param {(result: ClientResult) => void} keep
 */
export async function measureClients(peers, rounds, seconds, keep) {
  const server = await start('millrace');
  try {
    const runners = await Promise.all(peers.map((peer) => open(peer, server.port)));
    try {
      for (const row of clientRows) {
        const amounts = [];
        for (const runner of runners) amounts.push(await calibrate(runner, row.kind, seconds));
        for (let round = 0; round < rounds; round++) {
          for (const [index, runner] of runners.entries()) {
            const messages = amounts[index] ?? 0;
            const done = await runner.run(row.kind, messages);
            keep({
              row: row.name,
              peer: runner.peer,
              round,
              messagesPerSecond: messages / done.seconds,
              cpuMicroseconds: (done.cpuSeconds / messages) * 1e6,
            });
          }
        }
      }
    } finally {
      await Promise.all(runners.map((runner) => runner.close()));
    }
  } finally {
    await server.stop();
  }
}

/** @typedef {Awaited<ReturnType<typeof open>>} Runner */

/**
 * @param {PeerName} peer
 * @param {number} port
 */
async function open(peer, port) {
  const { file, env } = clients[peer] ?? {};
  if (file === undefined) throw new Error(`${peer} has no client of its own`);
  const inherited = { ...process.env };
  if (peer !== 'millrace') delete inherited['MILLRACE_DRIVER'];
  const child = spawnOn(
    GENERATOR_CORE,
    process.execPath,
    [fileURLToPath(new URL(file, import.meta.url)), String(port)],
    { env: { ...inherited, ...env }, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
  );

  /** @param {string} kind */
  async function answer(kind) {
    const listening = new AbortController();
    const signal = AbortSignal.any([listening.signal, AbortSignal.timeout(120_000)]);
    const gone = once(child, 'exit', { signal }).then(([code, by]) => {
      throw new Error(`the client ${peer} ended (${by ?? code}) where \`${kind}\` was due`);
    });
    gone.catch(() => {});
    const said = once(child, 'message', { signal });
    said.catch(() => {});
    try {
      const [message] = await Promise.race([said, gone]);
      if (message.kind !== kind) throw new Error(`the client ${peer} said ${message.kind}`);
      return message;
    } finally {
      listening.abort();
    }
  }

  await answer('ready');
  return {
    peer,
    /**
     * @param {string} kind
     * @param {number} messages
     */
    async run(kind, messages) {
      child.send({ kind, messages });
      const done = await answer('done');
      if (done.good !== messages) {
        throw new Error(
          `${peer}: ${done.good} of ${messages} replies were those of their requests`,
        );
      }
      return done;
    },
    close: () => end(child),
  };
}

/**
 * How many messages take about `seconds`, found on a warm client.
 *
 * @param {Runner} runner
 * @param {string} kind
 * @param {number} seconds
 */
async function calibrate(runner, kind, seconds) {
  let messages = 8000;
  for (let warm = 0; ; ) {
    const { seconds: taken } = await runner.run(kind, messages);
    warm += taken;
    const wanted = Math.ceil(Math.min((messages / taken) * seconds, messages * 10) / 8000) * 8000;
    if (warm >= Math.max(1.5, seconds) && taken >= seconds / 4) return wanted;
    messages = wanted;
  }
}
