// Starts the server. SIGTERM and SIGINT end it when the calls that have begun are done.

import { serve } from 'millrace';
import { settings } from './settings.js';

await serve({
  // Every thread loads this module for itself.
  services: new URL('./services.js', import.meta.url),
  ...settings,
}).catch((error: Error & { code?: string }) => {
  // These are about the address, and say all that there is to say.
  if (!/^MILLRACE_(HOST|PORT|LISTEN)_/.test(error.code ?? '')) throw error;
  console.error(`${error.message}: HOST and PORT say where, in the environment or in .env`);
  process.exit(1);
});
