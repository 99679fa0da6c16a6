// `millrace serve --metrics-port`: what Prometheus would scrape, and that the reference names all of it.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { millrace, startMillrace } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { ourClient } from '../support/our-client.js';
import { linkPackages, project } from '../support/project.js';
import { ECHO_SERVICES } from './echo-services.js';

const statistics = readFileSync(
  fileURLToPath(new URL('../../docs/reference/statistics.md', import.meta.url)),
  'utf8',
);

interface Started {
  readonly port: number;
  readonly url: string;
}

async function serve(...words: string[]): Promise<Started> {
  const cwd = project({ 'dist/services.js': ECHO_SERVICES });
  linkPackages(cwd, 'millrace');
  const child = startMillrace(['serve', '--port', '0', '--metrics-port', '0', ...words], { cwd });
  onTestFinished(async () => {
    child.kill('SIGTERM');
    // Also with a scraper that stays connected it ends when its calls have.
    expect(await once(child, 'close')).toEqual([0, null]);
  });
  let port = 0;
  for await (const text of createInterface({ input: child.stdout })) {
    const line = JSON.parse(text) as { msg: string; port: number; url: string };
    if (line.msg === 'listening') port = line.port;
    if (line.msg === 'metrics') return { port, url: line.url };
  }
  throw new Error('it ended without metrics');
}

/** Values by name, those with labels by name and labels. */
async function scrape(url: string): Promise<Map<string, number>> {
  const response = await fetch(url);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toContain('text/plain; version=0.0.4');
  const lines = (await response.text()).split('\n').filter((line) => /^[a-z]/.test(line));
  return new Map(lines.map((line) => [line.replace(/ \S+$/, ''), Number(/\S+$/.exec(line)![0])]));
}

test('calls are counted over all threads, and what is served is documented', async () => {
  const { port, url } = await serve('--threads', '2');
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
  for (let connection = 0; connection < 8; connection++) {
    await ourClient(port).say({ text: 'hello' });
  }
  const metrics = await scrape(url);
  expect(metrics.get('millrace_calls_total')).toBe(8);
  expect(metrics.get('millrace_calls_ok_total')).toBe(8);
  expect(metrics.get('millrace_connections_accepted_total')).toBe(8);
  expect(metrics.get('millrace_handlers_finished_total')).toBe(8);
  expect(metrics.get('millrace_http2_streams_opened_total')).toBe(8);
  expect(metrics.get('millrace_active_calls')).toBe(0);
  expect(metrics.get('millrace_threads')).toBe(2);
  expect(metrics.get('process_resident_memory_bytes')).toBeGreaterThan(1e6);
  const info = [...metrics.keys()].find((name) => name.startsWith('millrace_info'));
  expect(info).toMatch(/version="\d+\.\d+\.\d+.*",driver="\w+"/);
});

/** The statistics of a part of the reference, as they are called here. */
function named(page: string): string[] {
  return [...page.matchAll(/^\| `([\w.]+)` \|/gm)].map(
    ([, name = '']) =>
      `millrace_${name.replace('.', '_').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`,
  );
}

test('gauges are what the reference has under Now, or is a highest; all others are counters', async () => {
  const { url } = await serve();
  const text = await (await fetch(url)).text();
  const typed = (type: string) =>
    [...text.matchAll(/^# TYPE (millrace_\w+) (\w+)$/gm)].flatMap(([, name = '', of]) =>
      of === type && !/_(info|threads)$/.test(name) ? [name] : [],
    );
  const now = named(/^## Now\n[^#]*/m.exec(statistics)![0]);
  const others = ['handlers_running', 'largest_batch', 'buffered_bytes_highest'];
  expect(typed('gauge').sort()).toEqual(
    [...now, ...others.map((name) => `millrace_${name}`)].sort(),
  );
  const counters = typed('counter');
  expect(counters.length).toBeGreaterThan(50);
  const known = new Set(named(statistics));
  expect(counters.filter((name) => !known.has(name.replace(/_total$/, '')))).toEqual([]);
});

test('help and type of each, and the sum does not fall when a thread dies', async () => {
  const { port, url } = await serve('--threads', '2');
  const text = await (await fetch(url)).text();
  expect(text).toMatch(
    /^# HELP millrace_calls_total calls of server.*\n# TYPE millrace_calls_total counter$/m,
  );
  expect(text).toContain('# TYPE millrace_connections gauge');
  for (let call = 0; call < 10; call++) await ourClient(port).say({ text: 'hello' });
  const scraped = await scrape(url);
  const before = scraped.get('millrace_calls_total')!;
  expect(before).toBe(10);
  const buffers = scraped.get('millrace_ring_buffers')!;
  await ourClient(port)
    .say({ text: 'die' })
    .catch(() => {});
  await eventually('a thread is gone', async () => {
    const now = await scrape(url);
    expect(now.get('millrace_calls_total')).toBeGreaterThanOrEqual(before);
    return now.get('millrace_ring_buffers')! < buffers;
  });
  await eventually('and replaced', async () => {
    const now = await scrape(url);
    expect(now.get('millrace_calls_total')).toBeGreaterThanOrEqual(before);
    return now.get('millrace_ring_buffers') === buffers;
  });
});

test('other paths and methods, and HEAD', async () => {
  const { url } = await serve();
  expect((await fetch(new URL('/', url))).status).toBe(404);
  expect((await fetch(url, { method: 'POST' })).status).toBe(405);
  const head = await fetch(`${url}?x=1`, { method: 'HEAD' });
  expect([head.status, await head.text()]).toEqual([200, '']);
});

test('a port that is in use starts nothing; one that is none', async () => {
  const cwd = project({ 'dist/services.js': ECHO_SERVICES });
  linkPackages(cwd, 'millrace');
  const taken = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const words = ['serve', '--port', '0', '--metrics-port'];
  expect(await millrace([...words, String(port)], { cwd })).toEqual({
    code: 1,
    stdout: '',
    stderr: `metrics cannot be served on 127.0.0.1:${port}: the port is in use\nGive another --metrics-port, or leave it out. The server was not started.\n`,
  });
  const wrong = await millrace([...words, 'http'], { cwd });
  expect(wrong.code).toBe(2);
  expect(wrong.stderr).toContain('A port is a number from 0 to 65535.');
});
