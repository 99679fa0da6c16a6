// A worker thread that serves, and asks for nothing but a port.

import { parentPort } from 'node:worker_threads';
import { serve } from 'millrace';
import { echo } from './services.js';

const server = await serve({
  services: [echo],
  host: '127.0.0.1',
  port: 0,
  signals: false,
  log: { level: 'silent' },
});
parentPort?.postMessage(server.port);
