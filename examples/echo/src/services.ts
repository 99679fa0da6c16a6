// What this project serves. With THREADS above 1 every thread loads this module for itself.

import { health } from '@millrace/health';
import { reflection } from '@millrace/reflection';
import { service } from 'millrace';
import { Echo } from './gen/millrace/echo/v1/echo.js';

export const echo = service(Echo, {
  async say(request) {
    return { text: request.text, data: request.data };
  },

  async collect(requests) {
    let count = 0n;
    let bytes = 0n;
    for await (const request of requests) {
      count++;
      bytes += BigInt(request.data.length);
    }
    return { count, bytes };
  },

  async *expand(request) {
    for (let i = 0; i < request.count; i++) yield { text: request.text, data: request.data };
  },

  // A slow reader slows this loop, and this loop its sender: nothing piles up in between.
  async *chat(requests) {
    for await (const request of requests) yield { text: request.text, data: request.data };
  },

  // The same with callbacks: more to write, less to run for each message.
  chatFast: {
    open(_ctx, writer) {
      return {
        message(request) {
          writer.write({ text: request.text, data: request.data });
        },
        end() {
          writer.end();
        },
      };
    },
  },
});

// `grpc-health-probe -addr 127.0.0.1:50051` and `grpcurl -plaintext 127.0.0.1:50051 list` work.
export const status = health();
export const description = reflection();
