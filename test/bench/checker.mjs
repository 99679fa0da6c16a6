// An independent client that calls while the load runs and compares every reply byte by byte.

import { readFileSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import { keptCertificates } from '#certificates';
import { message } from './frames.mjs';

const SERVICE = '/millrace.echo.v1.Echo';
const PAUSE_MS = 100;
const STREAM_MESSAGES = 5;

/** @param {Buffer} bytes */
const raw = (bytes) => bytes;

/**
 * @param {number} port
 * @param {{ size: number, tls?: boolean }} row bytes of each message
 */
export function startChecker(port, { size, tls = false }) {
  const credentials = tls
    ? grpc.credentials.createSsl(readFileSync(keptCertificates().ca))
    : grpc.credentials.createInsecure();
  const client = new grpc.Client(`127.0.0.1:${port}`, credentials, {
    'grpc.max_receive_message_length': -1,
    // Node.js would send an address as the server's name, and warns of that.
    ...(tls ? { 'grpc.ssl_target_name_override': 'localhost' } : {}),
  });
  let stopped = false;
  let calls = 0;

  async function checkSay() {
    const request = message(size, calls);
    const reply = await new Promise((resolve, reject) => {
      client.makeUnaryRequest(`${SERVICE}/Say`, raw, raw, request, (error, value) => {
        if (error !== null) reject(error);
        else resolve(value);
      });
    });
    same(reply, request, 'Say');
  }

  /** @param {string} method */
  async function checkStream(method) {
    const call = client.makeBidiStreamRequest(`${SERVICE}/${method}`, raw, raw);
    const status = new Promise((resolve, reject) => {
      call.on('status', resolve);
      call.on('error', reject);
    });
    const sent = Array.from({ length: STREAM_MESSAGES }, (_, number) => message(size, number));
    for (const request of sent) call.write(request);
    call.end();
    let next = 0;
    for await (const reply of call) same(reply, sent[next++], method);
    const { code } = /** @type {grpc.StatusObject} */ (await status);
    if (code !== grpc.status.OK || next !== sent.length) {
      throw new Error(`${method} answered ${next} of ${sent.length} messages, status ${code}`);
    }
  }

  const running = (async () => {
    while (!stopped) {
      await checkSay();
      await checkStream('Chat');
      await checkStream('ChatFast');
      calls += 3;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  })();
  // Reported by `stop`; a rejection without a listener would end the harness before it.
  running.catch(() => {});

  return {
    /** @returns {Promise<number>} calls compared; rejects with the first difference */
    async stop() {
      stopped = true;
      try {
        await running;
      } finally {
        client.close();
      }
      return calls;
    },
  };
}

/**
 * @param {unknown} reply
 * @param {Buffer | undefined} request
 * @param {string} method
 */
function same(reply, request, method) {
  if (!(reply instanceof Buffer) || request === undefined || !reply.equals(request)) {
    throw new Error(`${method} did not answer with the bytes it was sent`);
  }
}
