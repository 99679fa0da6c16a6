// The servers under measurement, each a process of its own on the server's core.

import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { keptCertificates } from '#certificates';
import { end, SERVER_CORE, spawnOn } from './processes.mjs';

/** @typedef {'grpc-js' | 'millrace' | 'ring' | 'classic' | 'portable'} PeerName */
/** @typedef {'echo' | 'pubsub'} ServiceName */

/** @type {Record<PeerName, { files: Record<ServiceName, string>, env: Record<string, string> }>} */
const peers = {
  'grpc-js': { files: filesOf('grpc-js'), env: {} },
  millrace: { files: filesOf('millrace'), env: {} },
  ring: { files: filesOf('millrace'), env: { MILLRACE_DRIVER: 'ring' } },
  classic: { files: filesOf('millrace'), env: { MILLRACE_DRIVER: 'classic' } },
  portable: { files: filesOf('millrace'), env: { MILLRACE_DRIVER: 'portable' } },
};

/** @param {string} implementation */
function filesOf(implementation) {
  return { echo: `server/${implementation}.mjs`, pubsub: `server/pubsub-${implementation}.mjs` };
}

/** @type {PeerName[]} */
export const peerNames = ['grpc-js', 'portable', 'millrace'];

/** The drivers between those two, where a row compares all of them. @type {PeerName[]} */
export const driverNames = ['classic', 'ring'];

export function millraceIsBuilt() {
  return existsSync(new URL('../../examples/echo/dist/services.js', import.meta.url));
}

/**
 * @typedef {object} Measured
 * @property {number[]} delays milliseconds by which each 10 ms timer was late
 * @property {Record<string, unknown>} stats the server's own
 */

/**
 * @typedef {object} Server
 * @property {PeerName} peer
 * @property {string} name
 * @property {number} pid
 * @property {number} port
 * @property {() => Promise<void>} begin
 * @property {() => Promise<Measured>} end
 * @property {() => Promise<Record<string, unknown>>} stats the server's own
 * @property {() => Promise<void>} stop
 */

/**
 * @param {PeerName} peer
 * @param {{ tls?: boolean, service?: ServiceName }} [options]
 * @returns {Promise<Server>}
 */
export async function start(peer, { tls = false, service = 'echo' } = {}) {
  const { files, env } = peers[peer];
  const { cert, key } = keptCertificates();
  // A driver forced from outside holds for the peer that chooses by itself, not for the others.
  const inherited = { ...process.env };
  if (peer !== 'millrace') delete inherited['MILLRACE_DRIVER'];
  const child = spawnOn(
    SERVER_CORE,
    process.execPath,
    [fileURLToPath(new URL(files[service], import.meta.url)), ...(tls ? [cert, key] : [])],
    { env: { ...inherited, ...env }, stdio: ['ignore', 'pipe', 'inherit', 'ipc'] },
  );
  const { pid } = child;
  if (pid === undefined || child.stdout === null) {
    throw new Error(`the ${peer} server did not start`);
  }
  // Its log, without the line that says that it listens, and those about attacks that are meant.
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (!line.includes('"msg":"listening"') && !line.includes('"event":"abuse"'))
      process.stdout.write(`  ${peer}: ${line}\n`);
  });

  /** @param {string} kind */
  async function answer(kind) {
    const done = new AbortController();
    const signal = AbortSignal.any([AbortSignal.timeout(60_000), done.signal]);
    const gone = once(child, 'exit', { signal }).then(([code, by]) => {
      throw new Error(`the ${peer} server ended (${by ?? code}) where \`${kind}\` was due`);
    });
    gone.catch(() => {});
    try {
      for (;;) {
        const [message] = await Promise.race([once(child, 'message', { signal }), gone]);
        if (message.kind === kind) return message;
      }
    } finally {
      // Who listens for the exit no longer has to.
      done.abort();
    }
  }

  const { port, name } = await answer('listening');
  return {
    peer,
    name,
    pid,
    port,
    async begin() {
      child.send('begin');
      await answer('begun');
    },
    async end() {
      child.send('end');
      return answer('ended');
    },
    async stats() {
      child.send('stats');
      return (await answer('stats')).stats;
    },
    stop: () => end(child),
  };
}
