// Servers are closed and forgotten, and their memory is collected: in the turn of the close, with
// views still referenced, with calls that had not ended, and without ever having been closed.

import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { type Server, serve } from 'millrace';
import { closed, load } from './load.js';
import { echo, release } from './services.js';

const collect = globalThis.gc!;

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

function mappedBytes(): number {
  const line = /^VmSize:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return Number(line?.[1]) * 1024;
}

async function round(abandon: boolean): Promise<void> {
  let server: Server | undefined = await serve({
    services: [echo],
    host: '127.0.0.1',
    port: 0,
    signals: false,
    log: { level: 'silent' },
    limits: { ringBuffers: 64 },
  });
  const sockets = load(server.port, 2);
  await once(sockets[0]!, 'data');
  if (abandon) for (const socket of sockets) socket.resetAndDestroy();
  const closing = server.close();
  collect();
  for (const socket of sockets) socket.end();
  release();
  await closing;
  server = undefined;
  collect();
  for (const socket of sockets) socket.destroy();
  await closed(sockets);
  collect();
}

await round(false);
await round(true);
const before = { descriptors: descriptors(), mapped: mappedBytes() };
for (let count = 0; count < 20; count++) await round(count % 2 === 0);
collect();
const after = { descriptors: descriptors(), mapped: mappedBytes() };
console.log(JSON.stringify({ msg: 'done', before, after }));
