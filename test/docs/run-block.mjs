// Runs a compiled block: `node run-block.mjs NAME PORT`. The socket of that port, which listens, is
// handed over as descriptor 3: the block's server takes it, or one of the services that blocks call. A
// block that names port 50051 means this one.

import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [, , name, port] = process.argv;
process.env['LISTEN_FDS'] = '1';
process.env['LISTEN_PID'] = String(process.pid);
process.env['DOCS_TARGET'] = `127.0.0.1:${port}`;

/** @param {string} module */
const load = (module) => import(pathToFileURL(resolve(`${module}.js`)).href);

const file = resolve(`${name}.js`);
const code = readFileSync(file, 'utf8');
if (!/\bserve\(/.test(code)) {
  const { serve, echo, orders } = await load('common');
  await serve({ services: [echo, orders] });
}
writeFileSync(file, code.replaceAll('localhost:50051', `127.0.0.1:${port}`));
await load(name ?? '');
// Servers drain, and nothing else may be left that keeps the process.
if (process.listenerCount('SIGTERM') > 0) process.kill(process.pid, 'SIGTERM');
