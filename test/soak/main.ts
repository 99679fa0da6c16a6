// The soak: `npm run soak -- [--minutes 10] [--driver bundle|ring|classic|portable] [--tls] [--seed N]`.
//
// Servers in processes of their own, and our client in this one, which makes calls of all kinds at random
// while servers are restarted and killed and connections are broken. Every reply is verified, every failure
// has to be one that its call allows. From time to time all calls come to rest and it is measured what the
// processes use.

import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectionOptions } from 'millrace';
import { makeAuthority } from '../support/certificates/make.js';
import { Content } from '../support/content.js';
import { random } from '../support/random.js';
import { Fleet } from './fleet.js';
import { Ledger } from './ledger.js';
import { type Line, openLines } from './lines.js';
import { Load } from './load.js';
import { readOptions, type SoakOptions } from './options.js';
import { Series } from './samples.js';
import { ownUse } from './use.js';

/** Of the whole time: what is warmed up is compared. */
const WARM_UP = 0.2;
const RESTS_MOST = 20;
const REST_EVERY_LEAST_MS = 4000;
const CONNECTIONS_MS = 15_000;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Waits until every line has its connections, so that rests are alike. */
async function settle(lines: readonly Line[], ledger: Ledger): Promise<void> {
  const end = performance.now() + CONNECTIONS_MS;
  for (const { name, connection, connections } of lines) {
    connection.connect();
    for (;;) {
      const stats = connection.stats();
      if (
        stats.state === 'ready' &&
        stats.connections === connections &&
        stats.callsUnderWay === 0 &&
        stats.callsWaiting === 0 &&
        stats.bufferedBytes === 0
      ) {
        break;
      }
      if (performance.now() > end) {
        ledger.violation(
          `"${name}" does not come to rest: ${JSON.stringify({ ...stats, engine: 0 })}`,
        );
        return;
      }
      await delay(20);
      connection.connect();
    }
  }
}

async function soak({ seconds, driver, tls, seed }: SoakOptions): Promise<boolean> {
  if (driver !== undefined) process.env['MILLRACE_DRIVER'] = driver;
  say(
    `soak: ${seconds} s, driver ${driver ?? 'auto'}, ${tls ? 'TLS' : 'cleartext'}, --seed ${seed}`,
  );
  const ledger = new Ledger();
  const authority = tls ? makeAuthority() : undefined;
  const fleet = new Fleet(
    {
      seed,
      limits: {},
      tls: authority && { cert: authority.server.cert, key: authority.server.key },
    },
    random(seed),
    ledger,
  );
  await fleet.start();
  const secure: ConnectionOptions =
    authority === undefined
      ? {}
      : { tls: { ca: authority.authority.cert, serverName: 'localhost' } };
  const lines = openLines(fleet, secure);
  const load = new Load({ content: new Content(seed), ledger, fleet, lines }, seed);
  const client = new Series('client', ledger);
  const steady = new Series('server', ledger);

  async function rest(): Promise<void> {
    await fleet.calmDown();
    await load.rest();
    await settle(lines, ledger);
    const [use, server] = [await ownUse(), await fleet.steady.sample()];
    const engines = new Map(
      lines.map(({ connection, rough }) => [rough, connection.stats().engine]),
    );
    client.add({ use, engines: [...engines.values()] });
    steady.add({ use: server.use, engines: [server.stats] });
    const { started, ended, wrong } = server.counters;
    if (wrong > 0) ledger.violation(`the steady server received ${wrong} wrong messages`);
    if (started !== ended) {
      ledger.violation(`the steady server began ${started} calls and ended ${ended}`);
    }
  }

  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 1000;
  function progress(): void {
    const { calm, killed, cut } = fleet.restarts;
    say(
      `${elapsed().toFixed(0).padStart(5)} s  ${ledger.calls} calls, ${ledger.messages} messages, ` +
        `${(ledger.bytes / 2 ** 20).toFixed(0)} MiB; ${calm} restarts, ${killed} kills, ${cut} cuts\n` +
        `         ${client.line}\n         ${steady.line}`,
    );
  }

  const everyMs = Math.max(REST_EVERY_LEAST_MS, (seconds * 1000 * (1 - WARM_UP)) / RESTS_MOST);
  load.start();
  let nextMs = Math.max(REST_EVERY_LEAST_MS, seconds * 1000 * WARM_UP);
  while (elapsed() < seconds) {
    fleet.disrupt();
    load.goOn();
    await delay(Math.min(nextMs, Math.max(0, seconds * 1000 - elapsed() * 1000)));
    await rest();
    progress();
    nextMs = everyMs;
  }
  load.stop();
  await Promise.all(lines.map(({ connection }) => connection.close(1000)));
  await fleet.stop();

  say('');
  for (const [name, count] of [...ledger.outcomes].sort((a, b) => b[1] - a[1])) {
    say(`${String(count).padStart(9)}  ${name}`);
  }
  for (const [text, count] of ledger.warnings) say(`${String(count).padStart(9)}  warned: ${text}`);
  for (const text of [...client.compare(), ...steady.compare()]) say(text);
  const { calm, killed, cut } = fleet.restarts;
  say(
    `soak ${ledger.violations === 0 ? 'passed' : 'FAILED'}: ${ledger.calls} calls with ${ledger.messages} messages ` +
      `in ${elapsed().toFixed(0)} s, ${calm} restarts, ${killed} kills, ${cut} cuts; ` +
      `${ledger.violations} wrong${ledger.violations === 0 ? '' : `; repeat with --seed ${seed}`}`,
  );
  return ledger.violations === 0;
}

try {
  process.exitCode = (await soak(readOptions(process.argv.slice(2)))) ? 0 : 1;
} catch (error) {
  process.stderr.write(`soak: ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(2);
}
