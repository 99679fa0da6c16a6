// The rows of the matrix: each runs one suite over one transport and driver.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { keptCertificates } from '#certificates';
import { CASES, COMPRESSED_CASES, runCase } from '../interop/grpc-js-client.mjs';
import { runToEnd, startListening, startOnPort } from './processes.mjs';

/** What grpc-go's client runs without a cloud account. */
const GRPC_GO_CASES = [
  'empty_unary',
  'large_unary',
  'client_streaming',
  'server_streaming',
  'ping_pong',
  'empty_stream',
  'custom_metadata',
  'status_code_and_message',
  'special_status_message',
  'unimplemented_method',
  'unimplemented_service',
  'cancel_after_begin',
  'cancel_after_first_response',
  'timeout_on_sleeping_server',
  'pick_first_unary',
  'rpc_soak',
  'channel_soak',
];

/** Of these the client compresses its requests, of the others the server its responses. */
const CLIENT_COMPRESSED = ['client_compressed_unary', 'client_compressed_streaming'];
const COMPRESSED = [...CLIENT_COMPRESSED, 'server_compressed_unary', 'server_compressed_streaming'];

/** Where h2specd listens from, one port for each case. */
const H2SPECD_PORT = 30_100;
/** A case is over long before; one that hangs must not hold the others up. */
const CASE_MS = 60_000;
const SUITE_MS = 300_000;

const pythonProgram = fileURLToPath(new URL('../interop/grpcio.py', import.meta.url));

/** @typedef {'plaintext' | 'TLS'} Transport */

/**
 * @typedef {object} Result
 * @property {string} suite
 * @property {Transport} transport
 * @property {string} driver
 * @property {number} passed
 * @property {number} failed
 * @property {string[]} failures what failed, one line each
 */

/**
 * The HTTP/2 server, by h2spec.
 *
 * @param {string} h2spec
 * @param {string} peer
 * @param {Transport} transport
 * @param {string} driver
 * @returns {Promise<Result>}
 */
export async function http2Server(h2spec, peer, transport, driver) {
  const { cert, key } = keptCertificates();
  const tls = transport === 'TLS';
  const files = tls ? [cert, key] : [];
  const server = await startListening(peer, ['serve', driver, ...files, '127.0.0.1:0']);
  try {
    const words = ['--strict', '-h', '127.0.0.1', '-p', String(server.port), '-o', '2'];
    const { output } = await runToEnd(h2spec, [...words, ...(tls ? ['-t', '-k'] : [])], {
      timeoutMs: SUITE_MS,
    });
    return { suite: 'h2spec, server', transport, driver, ...counted(output, 147) };
  } finally {
    await server.stop();
  }
}

/**
 * The HTTP/2 client, by h2specd.
 *
 * @param {string} h2specd
 * @param {string} peer
 * @param {Transport} transport
 * @param {string} driver
 * @returns {Promise<Result>}
 */
export async function http2Client(h2specd, peer, transport, driver) {
  const { ca, cert, key } = keptCertificates();
  const tls = transport === 'TLS';
  // It appends the URL.
  const get = [peer, 'get', driver, ...(tls ? [ca] : [])].join(' ');
  const words = ['--strict', '-f', String(H2SPECD_PORT), '-o', '2', '-e', get];
  const { output } = await runToEnd(
    h2specd,
    [...words, ...(tls ? ['-t', '-c', cert, '-k', key] : [])],
    { timeoutMs: SUITE_MS },
  );
  return { suite: 'h2specd, client', transport, driver, ...counted(output, 57) };
}

/**
 * Our interop server, by grpc-go's client.
 *
 * @param {string} client
 * @param {Transport} transport
 * @param {string} driver
 * @returns {Promise<Result>}
 */
export async function grpcGoClient(client, transport, driver) {
  const server = await interopServer(transport, driver);
  const trusted = ['--use_tls', '--use_test_ca', `--ca_file=${keptCertificates().ca}`];
  const tls = transport === 'TLS' ? trusted : [];
  try {
    return {
      suite: 'gRPC interop: grpc-go client, our server',
      transport,
      driver,
      ...(await eachCase(GRPC_GO_CASES, (name) =>
        runToEnd(client, [...to(server.port), ...tls, `--test_case=${name}`], {
          timeoutMs: CASE_MS,
        }),
      )),
    };
  } finally {
    await server.stop();
  }
}

/**
 * Our interop server, by grpc-js's client.
 *
 * @param {Transport} transport
 * @param {string} driver
 * @returns {Promise<Result>}
 */
export async function grpcJsClient(transport, driver) {
  const server = await interopServer(transport, driver);
  const target = `127.0.0.1:${server.port}`;
  const tls = transport === 'TLS' ? { ca: readFileSync(keptCertificates().ca) } : {};
  try {
    return {
      suite: 'gRPC interop: grpc-js client, our server',
      transport,
      driver,
      ...(await eachCase([...CASES, ...COMPRESSED_CASES], async (name) => {
        try {
          await runCase(name, { target, ...tls });
          return { code: 0, output: '' };
        } catch (error) {
          return { code: 1, output: String(error) };
        }
      })),
    };
  } finally {
    await server.stop();
  }
}

/**
 * Our client, against grpc-go's interop server, which does not have CacheableUnaryCall.
 *
 * @param {string} server
 * @param {Transport} transport
 * @param {string} driver
 * @returns {Promise<Result>}
 */
export async function grpcGoServer(server, transport, driver) {
  const { cert, key } = keptCertificates();
  const certified = ['--use_tls', `--tls_cert_file=${cert}`, `--tls_key_file=${key}`];
  const tls = transport === 'TLS' ? certified : [];
  const { port, stop } = await startOnPort(server, (free) => [`--port=${free}`, ...tls]);
  try {
    const cases = CASES.filter((name) => name !== 'cacheable_unary');
    return {
      suite: 'gRPC interop: our client, grpc-go server',
      transport,
      driver,
      ...(await eachCase(cases, (name) => ourClient(port, name, transport, driver))),
    };
  } finally {
    await stop();
  }
}

/**
 * Our client, against grpc-js's server, which takes compressed requests and does not compress.
 *
 * @param {Transport} transport
 * @param {string} driver
 * @returns {Promise<Result>}
 */
export async function grpcJsServer(transport, driver) {
  const { cert, key } = keptCertificates();
  const certified = [`--tls_cert_file=${cert}`, `--tls_key_file=${key}`];
  const program = fileURLToPath(new URL('../interop/grpc-js-server.mjs', import.meta.url));
  const { port, stop } = await startListening(process.execPath, [
    ...[program, '--port=0'],
    ...(transport === 'TLS' ? certified : []),
  ]);
  try {
    return {
      suite: 'gRPC interop: our client, grpc-js server',
      transport,
      driver,
      ...(await eachCase([...CASES, ...CLIENT_COMPRESSED], (name) =>
        ourClient(port, name, transport, driver, ['--no_probe']),
      )),
    };
  } finally {
    await stop();
  }
}

/**
 * Our client, against our interop server.
 *
 * @param {Transport} transport
 * @param {string} driver
 * @returns {Promise<Result>}
 */
export async function ourselves(transport, driver) {
  const { port, stop } = await interopServer(transport, driver);
  try {
    return {
      suite: 'gRPC interop: our client, our server',
      transport,
      driver,
      ...(await eachCase([...CASES, ...COMPRESSED], (name) =>
        ourClient(port, name, transport, driver),
      )),
    };
  } finally {
    await stop();
  }
}

/**
 * Our interop server, by the client of gRPC for Python: the compressed cases.
 *
 * @param {string} python
 * @param {Transport} transport
 * @param {string} driver
 * @returns {Promise<Result>}
 */
export async function pythonClient(python, transport, driver) {
  const server = await interopServer(transport, driver);
  const tls = transport === 'TLS' ? [`--ca_file=${keptCertificates().ca}`] : [];
  const words = [pythonProgram, 'client', `--server_port=${server.port}`, ...tls];
  try {
    return {
      suite: 'gRPC interop, compressed: Python client, our server',
      transport,
      driver,
      ...(await eachCase(COMPRESSED, (name) =>
        runToEnd(python, [...words, `--test_case=${name}`], { timeoutMs: CASE_MS }),
      )),
    };
  } finally {
    await server.stop();
  }
}

/**
 * Our client, against the server of gRPC for Python: the compressed cases.
 *
 * @param {string} python
 * @param {Transport} transport
 * @param {string} driver
 * @returns {Promise<Result>}
 */
export async function pythonServer(python, transport, driver) {
  const { cert, key } = keptCertificates();
  const certified = [`--tls_cert_file=${cert}`, `--tls_key_file=${key}`];
  const tls = transport === 'TLS' ? certified : [];
  const words = [pythonProgram, 'server', '--port=0', ...tls];
  const { port, stop } = await startListening(python, words);
  try {
    return {
      suite: 'gRPC interop, compressed: our client, Python server',
      transport,
      driver,
      ...(await eachCase(COMPRESSED, (name) =>
        ourClient(port, name, transport, driver, ['--no_probe']),
      )),
    };
  } finally {
    await stop();
  }
}

/**
 * @param {number} port
 * @param {string} name
 * @param {Transport} transport
 * @param {string} driver
 * @param {readonly string[]} [flags]
 */
function ourClient(port, name, transport, driver, flags = []) {
  // What gRPC's own scripts say; `--tls` says both in one.
  const tls = transport === 'TLS' ? ['--use_tls', '--use_test_ca=true'] : [];
  const words = [built('client.js'), ...to(port), ...tls, ...flags, `--test_case=${name}`];
  return runToEnd(process.execPath, words, {
    timeoutMs: CASE_MS,
    environment: { MILLRACE_DRIVER: driver },
  });
}

/**
 * @param {Transport} transport
 * @param {string} driver
 */
function interopServer(transport, driver) {
  const tls = transport === 'TLS' ? ['--tls'] : [];
  return startListening(process.execPath, [built('server.js'), '--port=0', ...tls], {
    MILLRACE_DRIVER: driver,
  });
}

/** @param {string} file */
function built(file) {
  return fileURLToPath(new URL(`../dist/interop/${file}`, import.meta.url));
}

/** @param {number} port */
function to(port) {
  return ['--server_host=127.0.0.1', `--server_port=${port}`];
}

/**
 * @param {readonly string[]} cases
 * @param {(name: string) => Promise<{ code: number | null, output: string }>} run
 */
async function eachCase(cases, run) {
  const failures = [];
  for (const name of cases) {
    const { code, output } = await run(name);
    if (code !== 0) failures.push(`${name}: ${output.trim().split('\n').at(-1) ?? ''}`);
  }
  return { passed: cases.length - failures.length, failed: failures.length, failures };
}

/**
 * Reads the closing line of h2spec and h2specd. Cases that did not run have failed.
 *
 * @param {string} output
 * @param {number} cases
 */
function counted(output, cases) {
  const line = /^(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed/m.exec(output);
  const passed = Number(line?.[2] ?? 0);
  const failures = [...new Set(output.match(/^.*×.*$/gm)?.map((text) => text.trim()))];
  return { passed, failed: cases - passed, failures };
}
