/**
 * Loaded by Node.js before the program that `millrace dev` runs: hands it the socket of the
 * supervisor as a service manager would, and tells the supervisor when the program accepts.
 */
import { subscribe } from 'node:diagnostics_channel';
import { isMainThread } from 'node:worker_threads';

if (isMainThread && process.send !== undefined) {
  // Only here the number of the process is known: the supervisor starts it, and cannot know it before.
  process.env['LISTEN_FDS'] = '1';
  process.env['LISTEN_PID'] = String(process.pid);
  subscribe('millrace.listening', () => process.send?.('listening'));
  // Without its supervisor it ends as with Ctrl-C.
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel?.unref();
}
