// Starts the server. SIGTERM and SIGINT end it when the calls that have begun are done.

import { serve } from 'millrace';
import { settings } from './settings.js';

await serve({
  // Every thread loads this module for itself.
  services: new URL('./services.js', import.meta.url),
  ...settings,
});
