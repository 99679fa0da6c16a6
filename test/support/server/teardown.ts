// Workers that serve under load are terminated at a random moment, over and over. The process has
// to live through it and to end by itself, without a descriptor more than at its start.
//
//   node teardown.js <rounds> <seed>

import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { closed, load } from './load.js';

const rounds = Number(process.argv[2]);
let state = Number(process.argv[3]) >>> 0;

function random(): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return state / 2 ** 32;
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

async function round(): Promise<number> {
  const worker = new Worker(new URL('./teardown-worker.js', import.meta.url));
  const [port] = (await once(worker, 'message')) as [number];
  const sockets = load(port, 4);
  let received = 0;
  for (const socket of sockets) {
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
  }
  await once(sockets[0]!, 'data');
  await delay(random() * 15);
  await worker.terminate();
  for (const socket of sockets) socket.destroy();
  await closed(sockets);
  return received;
}

// The first rounds open what Node opens once.
await round();
await round();
const before = descriptors();
let received = 0;
const lanes = Array.from({ length: 2 }, async (_, lane) => {
  for (let count = lane; count < rounds; count += 2) received += await round();
});
await Promise.all(lanes);
await delay(50);
console.log(JSON.stringify({ msg: 'done', rounds, received, before, after: descriptors() }));
