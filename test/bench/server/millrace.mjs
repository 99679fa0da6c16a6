// Millrace with the handlers of examples/echo, on the driver that MILLRACE_DRIVER names. Words: the
// files of a certificate and its key, for TLS.

import { serve } from 'millrace';
import { echo } from '../../../examples/echo/dist/services.js';
import { control } from './control.mjs';

const [cert, key] = process.argv.slice(2);
const server = await serve({
  services: [echo],
  host: '127.0.0.1',
  port: 0,
  signals: false,
  log: { level: 'warn' },
  ...(cert === undefined || key === undefined ? {} : { tls: { cert, key } }),
});

control({
  port: server.port,
  name: `millrace, driver ${server.driver}`,
  stats: async () => server.stats(),
  close: async () => {
    await server.close();
  },
});
