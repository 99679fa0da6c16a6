// Other people's suites against Millrace: installs those that are missing (they need Go), runs them,
// and writes the matrix of docs/conformance.md. Ends with one line, `N passed, N failed`, and code 1
// when anything failed. What cannot run is skipped aloud, and then the matrix stays as it is.

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { runToEnd } from './processes.mjs';
import * as suites from './suites.mjs';
import { findPython, installTools } from './tools.mjs';

const BUILD_MS = 900_000;
const page = new URL('../../docs/conformance.md', import.meta.url);
const [begin, end] = ['<!-- matrix -->', '<!-- end of matrix -->'];
const transports = /** @type {const} */ (['plaintext', 'TLS']);
const drivers = process.platform === 'linux' ? ['bundle', 'portable'] : ['portable'];

/** @type {import('./suites.mjs').Result[]} */
const results = [];
let skipped = 0;

const peer = await buildPeer();
const tools = await installTools();
const python = await findPython();
await rows(tools.h2spec, (path, ...on) => suites.http2Server(path, peer, ...on));
await rows(tools.h2specd, (path, ...on) => suites.http2Client(path, peer, ...on));
await rows(tools.client, suites.grpcGoClient);
await rows(tools.server, suites.grpcGoServer);
await rows(undefined, (_path, ...on) => suites.grpcJsClient(...on));
await rows(undefined, (_path, ...on) => suites.grpcJsServer(...on));
await rows(undefined, (_path, ...on) => suites.ourselves(...on));
await rows(python, suites.pythonClient);
await rows(python, suites.pythonServer);

if (skipped === 0) write();
else console.log(`docs/conformance.md is left as it is: ${skipped} suites could not run.`);
const passed = results.reduce((sum, result) => sum + result.passed, 0);
const failed = results.reduce((sum, result) => sum + result.failed, 0);
console.log(
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} suites skipped` : ''}`,
);
process.exit(failed > 0 ? 1 : 0);

/**
 * A suite over each transport, on each driver.
 *
 * @param {import('./tools.mjs').Tool | undefined} tool undefined where npm has brought all that it needs
 * @param {(path: string, transport: import('./suites.mjs').Transport, driver: string) => Promise<import('./suites.mjs').Result>} row
 */
async function rows(tool, row) {
  if (tool !== undefined && tool.path === undefined) {
    skipped++;
    console.log(`SKIPPED: ${tool.title}: ${tool.reason}`);
    return;
  }
  for (const transport of transports) {
    for (const driver of drivers) {
      const result = await row(tool?.path ?? '', transport, driver);
      results.push(result);
      const { suite, passed, failed, failures } = result;
      console.log(`${suite}, ${transport}, ${driver}: ${passed} passed, ${failed} failed`);
      for (const failure of failures) console.log(`  ${failure}`);
    }
  }
}

/** @returns {Promise<string>} the HTTP/2 peer without gRPC */
async function buildPeer() {
  const { code, output } = await runToEnd(
    'cargo',
    [
      ...['build', '--release', '--manifest-path'],
      fileURLToPath(new URL('../../native/Cargo.toml', import.meta.url)),
      ...['--package', 'millrace-engine', '--example', 'http2_peer'],
      '--message-format=json-render-diagnostics',
    ],
    { timeoutMs: BUILD_MS },
  );
  const executable = output
    .split('\n')
    .filter((line) => line.includes('"compiler-artifact"') && line.includes('"http2_peer"'))
    .map((line) => JSON.parse(line).executable)
    .at(-1);
  if (typeof executable !== 'string') {
    throw new Error(`cargo ended with code ${code} and built no http2_peer:\n${output}`);
  }
  return executable;
}

function write() {
  const grpcJs = createRequire(import.meta.url)('@grpc/grpc-js/package.json').version;
  const installed = [...Object.values(tools), python].map(({ title }) => title);
  const versions = [...installed, `grpc-js ${grpcJs}`];
  const lines = [
    '| suite | transport | driver | passed | failed |',
    '|---|---|---|---:|---:|',
    ...results.map(
      ({ suite, transport, driver, passed, failed }) =>
        `| ${suite} | ${transport} | ${driver} | ${passed} | ${failed} |`,
    ),
    '',
    `Versions: ${versions.join(', ')}, Node.js ${process.versions.node}.`,
  ];
  const text = readFileSync(page, 'utf8');
  const [before = '', after = ''] = [text.split(begin)[0], text.split(end)[1]];
  writeFileSync(page, `${before}${begin}\n\n${lines.join('\n')}\n\n${end}${after}`);
}
