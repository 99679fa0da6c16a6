// The interoperability server: `npm run interop:server -- --port 10000`. SIGTERM drains it.

import { parseArgs } from 'node:util';
import { serve } from 'millrace';
import { testService } from './service.js';

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '10000' },
  },
});

await serve({ services: [testService], host: values.host, port: Number(values.port) });
