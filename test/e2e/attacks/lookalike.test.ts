// Honest clients that look like attackers: grpc-go at full rate, cancelling one call in twenty,
// hedging one in ten, and measuring its path by PINGs. No GOAWAY, no lost connection, no wrong
// reply, even where the server has just been attacked and trusts nobody. 10 seconds, or
// MILLRACE_LOOKALIKE_SECONDS.

import { execFile, execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { attacks, run } from '../../support/attacks.js';
import { patience } from '../../support/patience.js';
import { startServer } from '../../support/server.js';
import { http2Total, total } from '../../support/stats.js';

const SECONDS = Number(process.env['MILLRACE_LOOKALIKE_SECONDS'] ?? 10);
const CONNECTIONS = 2;

/** Counters of connections ended, or nearly so. */
const CUTS = [
  ...['rapidResets', 'madeYouResets', 'refusedStreamFloods', 'settingsFloods', 'pingFloods'],
  ...['emptyDataFloods', 'tinyDataFloods', 'windowUpdateFloods', 'flowControlErrors'],
  ...['priorityFloods', 'ignoredFloods', 'controlOverflows', 'connectionErrors'],
] as const;

interface Report {
  readonly answered: number;
  readonly cancelled: number;
  readonly hedged: number;
  readonly errors: number;
  readonly firstError?: string;
}

/** Builds the client; undefined, aloud, where there is no Go. */
function lookalike(): string | undefined {
  const program = fileURLToPath(new URL('../../dist/lookalike', import.meta.url));
  try {
    execFileSync('go', ['build', '-o', program, '.'], {
      cwd: fileURLToPath(new URL('go', import.meta.url)),
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return program;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    console.warn('SKIPPED grpc-go as a lookalike: Go is not installed (https://go.dev/dl)');
    return undefined;
  }
}

test(`grpc-go with PINGs, hedging and 5 % of its calls cancelled, for ${SECONDS} s`, {
  timeout: patience(SECONDS * 1000 + 120_000),
}, async ({ skip }) => {
  const program = lookalike();
  if (program === undefined) return skip('Go is not installed');
  const server = await startServer({ logLevel: 'warn' });
  const rapidReset = attacks.find(({ counter }) => counter === 'rapidResets');
  if (rapidReset === undefined) throw new Error('there is no such attack any more');
  await run(rapidReset, server.port);
  const start = await server.stats();
  expect(http2Total(start, 'rapidResets')).toBe(1);
  const { stdout } = await promisify(execFile)(program, [
    `-address=127.0.0.1:${server.port}`,
    `-seconds=${SECONDS}`,
    `-connections=${CONNECTIONS}`,
  ]);
  const report = JSON.parse(stdout) as Report;
  console.log(`grpc-go: ${stdout.trim()}`);
  expect(report.firstError).toBeUndefined();
  expect(report.errors).toBe(0);
  expect(report.answered).toBeGreaterThan(1000);
  expect(report.cancelled).toBeGreaterThan(report.answered / 25);
  expect(report.hedged).toBeGreaterThan(report.answered / 25);
  const stats = await server.stats();
  const since = (counter: string) => http2Total(stats, counter) - http2Total(start, counter);
  for (const counter of CUTS) expect([counter, since(counter)]).toEqual([counter, 0]);
  expect(total(stats, 'connectionsAccepted')).toBe(CONNECTIONS + 1);
  expect(since('resetsReceived')).toBeGreaterThan(report.answered / 50);
});
