/**
 * Loaded by Node.js before the program that `millrace dev` runs: hands it the socket of the
 * supervisor as a service manager would, tells the supervisor when the program accepts, and what it
 * does in every so many milliseconds (`?statsMs=…`). What it throws before that is shortened, unless
 * `?traces=whole`.
 */
import { subscribe } from 'node:diagnostics_channel';
import { isMainThread } from 'node:worker_threads';
import { shortTrace } from './short-trace.js';
import { reportOf, type Totals } from './stats-line.js';

/** What `serve` says on its channel. */
interface Listening {
  stats(): Promise<{ readonly total: Totals }>;
}

if (isMainThread && process.send !== undefined) {
  // Only here the number of the process is known: the supervisor starts it, and cannot know it before.
  process.env['LISTEN_FDS'] = '1';
  process.env['LISTEN_PID'] = String(process.pid);
  const asked = new URL(import.meta.url).searchParams;
  const statsMs = Number(asked.get('statsMs'));
  if (asked.get('traces') !== 'whole') process.on('uncaughtException', onThrown);
  subscribe('millrace.listening', (server) => {
    process.off('uncaughtException', onThrown);
    process.send?.('listening');
    if (statsMs > 0) report(server as Listening, statsMs);
  });
  // Without its supervisor it ends as with Ctrl-C.
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel?.unref();
}

/** As Node.js ends it, in fewer words; a program with a handler of its own has its say. */
function onThrown(error: unknown): void {
  if (process.listenerCount('uncaughtException') > 1) return;
  process.stderr.write(`${shortTrace(error, process.cwd())}\n`);
  process.exit(1);
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
