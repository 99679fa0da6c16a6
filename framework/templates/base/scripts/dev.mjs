// `{{run}} dev`: generates and compiles on every change, and starts the server again.

import { spawn } from 'node:child_process';
import { once } from 'node:events';

const bin = (name) => `node_modules/.bin/${name}${process.platform === 'win32' ? '.cmd' : ''}`;
const shell = process.platform === 'win32';
const start = (command, ...words) => spawn(command, words, { stdio: 'inherit', shell });

// The first build, so that there is something to start.
await once(start(bin('tsc'), '-p', 'tsconfig.build.json'), 'close');

const children = [
  start(bin('millrace'), 'generate', '--watch'),
  start(bin('tsc'), '-p', 'tsconfig.build.json', '--watch', '--preserveWatchOutput'),
  start('node', '--watch', '--enable-source-maps', 'dist/main.js'),
];

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const child of children) child.kill(signal);
  });
}
