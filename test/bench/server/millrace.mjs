// Millrace with the handlers of examples/echo, on the driver that MILLRACE_DRIVER names.

import { serve } from 'millrace';
import { echo } from '../../../examples/echo/dist/services.js';
import { control } from './control.mjs';

const server = await serve({
  services: [echo],
  host: '127.0.0.1',
  port: 0,
  signals: false,
  log: { level: 'warn' },
});

control({
  port: server.port,
  name: `millrace, driver ${server.driver}`,
  stats: async () => server.stats(),
  close: async () => {
    await server.close();
  },
});
