// Connections that have said hello in HTTP/2 and then nothing. As a program it holds them:
//   node idle.mjs <port> <count>      reports `ready` over IPC, ends with its parent

import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { end, GENERATOR_CORE, spawnOn } from './processes.mjs';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const EMPTY_SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const SETTINGS_ACK = Buffer.from([0, 0, 0, 4, 1, 0, 0, 0, 0]);
const OPENING_AT_ONCE = 100;

/**
 * @param {number} port
 * @param {number} count
 * @returns {Promise<{ stop(): Promise<void> }>} once the server has answered all of them
 */
export async function holdIdleConnections(port, count) {
  const child = spawnOn(
    GENERATOR_CORE,
    process.execPath,
    [fileURLToPath(import.meta.url), String(port), String(count)],
    { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
  );
  const signal = AbortSignal.timeout(120_000);
  const [message] = await Promise.race([
    once(child, 'message', { signal }),
    once(child, 'exit', { signal }).then(() => ['ended']),
  ]);
  if (message !== 'ready') {
    await end(child);
    throw new Error(`${count} idle connections could not be opened: ${message}`);
  }
  return { stop: () => end(child) };
}

/** @param {number} port */
async function open(port) {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(Buffer.concat([PREFACE, EMPTY_SETTINGS]));
  // The server's SETTINGS, or the start of it.
  await once(socket, 'data');
  socket.write(SETTINGS_ACK);
  socket.on('data', () => {});
  socket.on('error', () => {});
  socket.on('close', () => {
    process.stderr.write('an idle connection was closed by the server\n');
    process.exit(1);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port, count] = process.argv.slice(2).map(Number);
  process.on('disconnect', () => process.exit(0));
  try {
    for (let opened = 0; opened < Number(count); opened += OPENING_AT_ONCE) {
      await Promise.all(
        Array.from({ length: Math.min(OPENING_AT_ONCE, Number(count) - opened) }, () =>
          open(Number(port)),
        ),
      );
    }
    process.send?.('ready');
  } catch (error) {
    process.send?.(String(error));
  }
}
