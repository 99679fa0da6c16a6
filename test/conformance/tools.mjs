// Other people's suites: where they come from, at which version, and how they get here.

import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { runToEnd } from './processes.mjs';

const INSTALL_MS = 600_000;
const PYTHON_MS = 20_000;

const H2SPEC = 'af83a65f0b62';
const GRPC_GO = 'v1.83.0';

/** Outside the tree, by version, so that a second run installs nothing. */
const cache = join(
  process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
  'millrace',
  `conformance-h2spec-${H2SPEC}-grpc-${GRPC_GO}`,
);

/** @typedef {'h2spec' | 'h2specd' | 'client' | 'server'} ToolName */

/** @type {Record<ToolName, { module: string, title: string }>} */
const sources = {
  h2spec: {
    module: `github.com/summerwind/h2spec/cmd/h2spec@${H2SPEC}`,
    title: `h2spec ${H2SPEC}`,
  },
  h2specd: {
    module: `github.com/summerwind/h2spec/cmd/h2specd@${H2SPEC}`,
    title: `h2specd ${H2SPEC}`,
  },
  client: {
    module: `google.golang.org/grpc/interop/client@${GRPC_GO}`,
    title: `grpc-go ${GRPC_GO} client`,
  },
  server: {
    module: `google.golang.org/grpc/interop/server@${GRPC_GO}`,
    title: `grpc-go ${GRPC_GO} server`,
  },
};

/**
 * @typedef {object} Tool
 * @property {string} title name and version, for the table
 * @property {string | undefined} path undefined where it cannot be had
 * @property {string} reason why not
 */

/**
 * Installs what the cache does not hold.
 *
 * @returns {Promise<Record<ToolName, Tool>>}
 */
export async function installTools() {
  mkdirSync(cache, { recursive: true });
  const { code } = await runToEnd('go', ['version'], { timeoutMs: INSTALL_MS });
  /** @type {Partial<Record<ToolName, Tool>>} */
  const tools = {};
  for (const name of /** @type {ToolName[]} */ (Object.keys(sources))) {
    tools[name] = await install(name, code === 0);
  }
  return /** @type {Record<ToolName, Tool>} */ (tools);
}

/**
 * A Python that has gRPC.
 *
 * @returns {Promise<Tool>}
 */
export async function findPython() {
  for (const path of ['python3', '/usr/bin/python3']) {
    const words = ['-c', 'import grpc; print(grpc.__version__)'];
    const { code, output } = await runToEnd(path, words, { timeoutMs: PYTHON_MS });
    if (code === 0) return { title: `gRPC for Python ${output.trim()}`, path, reason: '' };
  }
  return {
    title: 'gRPC for Python',
    path: undefined,
    reason: 'no python3 has it (Debian, Ubuntu: python3-grpcio; else pip install grpcio)',
  };
}

/**
 * @param {ToolName} name
 * @param {boolean} hasGo
 * @returns {Promise<Tool>}
 */
async function install(name, hasGo) {
  const { module, title } = sources[name];
  const path = join(cache, name);
  if (existsSync(path)) return { title, path, reason: '' };
  if (!hasGo) {
    return { title, path: undefined, reason: 'Go is not installed (https://go.dev/dl)' };
  }
  console.log(`Installing ${module} into ${cache}`);
  const { code, output } = await runToEnd('go', ['install', module], {
    timeoutMs: INSTALL_MS,
    environment: { GOBIN: cache },
  });
  if (code === 0 && existsSync(path)) return { title, path, reason: '' };
  return {
    title,
    path: undefined,
    reason: `\`go install ${module}\` ended with code ${code}: ${output.trim()}`,
  };
}
