/**
 * Loaded by Node.js before the program that `millrace dev` runs: hands it the socket of the
 * supervisor as a service manager would, tells the supervisor when the program accepts, and what it
 * does in every so many milliseconds (`?statsMs=…`).
 */
import { subscribe } from 'node:diagnostics_channel';
import { isMainThread } from 'node:worker_threads';
import { reportOf, type Totals } from './stats-line.js';

/** What `serve` says on its channel. */
interface Listening {
  stats(): Promise<{ readonly total: Totals }>;
}

if (isMainThread && process.send !== undefined) {
  // Only here the number of the process is known: the supervisor starts it, and cannot know it before.
  process.env['LISTEN_FDS'] = '1';
  process.env['LISTEN_PID'] = String(process.pid);
  const statsMs = Number(new URL(import.meta.url).searchParams.get('statsMs'));
  subscribe('millrace.listening', (server) => {
    process.send?.('listening');
    if (statsMs > 0) report(server as Listening, statsMs);
  });
  // Without its supervisor it ends as with Ctrl-C.
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel?.unref();
}

function report(server: Listening, statsMs: number): void {
  let before: Totals = {};
  setInterval(async () => {
    const { total } = await server.stats();
    const said = reportOf(before, total, statsMs / 1000, process.memoryUsage.rss());
    before = total;
    if (said !== undefined && process.connected) process.send?.(said);
  }, statsMs).unref();
}
