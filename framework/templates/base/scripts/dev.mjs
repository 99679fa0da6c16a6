// `{{run}} dev`: generates and compiles on every change, and starts the server again.

import { spawn } from 'node:child_process';
import { once } from 'node:events';

const windows = process.platform === 'win32';
const bin = (name) => `node_modules/.bin/${name}${windows ? '.cmd' : ''}`;

// In a process group of its own, so that Ctrl-C reaches this process alone, which ends the others.
const start = (command, ...words) =>
  spawn(command, words, { stdio: 'inherit', shell: windows, detached: !windows });

// What is up to date is not written again, which would start the server again.
const build = ['-p', 'tsconfig.build.json', '--incremental', '--tsBuildInfoFile'];
const info = 'dist/.tsbuildinfo';

// The first build, so that there is something to start.
await once(start(bin('tsc'), ...build, info), 'close');

const builders = [
  start(bin('millrace'), 'generate', '--watch'),
  start(bin('tsc'), ...build, info, '--watch', '--preserveWatchOutput'),
];
const server = start(process.execPath, '--watch', '--enable-source-maps', 'dist/main.js');

let stopped = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (stopped) return;
    stopped = true;
    // It tells the server, which drains; told twice, that would give up.
    server.kill('SIGTERM');
    for (const { pid, exitCode } of builders) {
      if (exitCode === null) process.kill(windows ? pid : -pid, 'SIGTERM');
    }
  });
}
