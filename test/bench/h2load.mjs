// One run of h2load, checked: every request answered with 2xx, and as many bytes as an echo has.

import { runGenerator } from './processes.mjs';

/**
 * @typedef {object} Load
 * @property {number} port
 * @property {string} path `/package.Service/Method`
 * @property {string} bodyFile a request body of gRPC frames
 * @property {number} replyBytes DATA bytes that one reply holds
 * @property {number} connections
 * @property {number} streams concurrent requests per connection
 * @property {number} requests in total
 * @property {boolean} [smallWindows] 64 KiB per stream, 1 MiB per connection
 * @property {boolean} [tls]
 * @property {string} [logFile] one line per request, with its microseconds
 * @property {number} timeoutMs
 */

/**
 * @param {Load} load
 * @returns {Promise<{ requestsPerSecond: number, seconds: number, bytes: number, busy: number }>}
 */
export async function h2load(load) {
  const { code, output, busy } = await runGenerator(
    'h2load',
    [
      ...['-n', String(load.requests), '-c', String(load.connections)],
      ...['-m', String(load.streams), '-t', '1'],
      ...['-d', load.bodyFile],
      ...['-H', 'content-type: application/grpc', '-H', 'te: trailers'],
      ...(load.smallWindows === true ? ['-w', '16', '-W', '20'] : []),
      // The same for every server, whichever it would prefer.
      ...(load.tls === true ? ['--tls13-ciphers=TLS_AES_128_GCM_SHA256'] : []),
      ...(load.logFile === undefined ? [] : [`--log-file=${load.logFile}`]),
      `${load.tls === true ? 'https' : 'http'}://127.0.0.1:${load.port}${load.path}`,
    ],
    load.timeoutMs,
  );
  const requestsPerSecond = number(/^finished in [^,]+, ([\d.]+) req\/s/m, output);
  const succeeded = number(/^requests: .* (\d+) succeeded/m, output);
  const answered = number(/^status codes: (\d+) 2xx/m, output);
  const bytes = number(/^traffic: .* \((\d+)\) data/m, output);
  const expected = load.requests * load.replyBytes;
  if (code !== 0 || succeeded !== load.requests || answered !== load.requests) {
    throw new Error(
      `h2load: ${succeeded} of ${load.requests} requests succeeded, ${answered} with status 2xx (code ${code}):\n${output}`,
    );
  }
  if (bytes !== expected) {
    throw new Error(
      `h2load received ${bytes} bytes of data where ${expected} were due:\n${output}`,
    );
  }
  return { requestsPerSecond, seconds: load.requests / requestsPerSecond, bytes, busy };
}

/**
 * @param {RegExp} pattern
 * @param {string} output
 */
function number(pattern, output) {
  const found = pattern.exec(output)?.[1];
  if (found === undefined) throw new Error(`h2load's output lacks ${pattern}:\n${output}`);
  return Number(found);
}
