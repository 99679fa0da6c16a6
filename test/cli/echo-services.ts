// A module of services as a build leaves it, for what serves one.

import { fileURLToPath } from 'node:url';

const echoModule = fileURLToPath(
  new URL('../../examples/echo/dist/gen/millrace/echo/v1/echo.js', import.meta.url),
);

/** Dies as a program does that throws where nobody catches; with threads, only one of them. */
export const ECHO_SERVICES = `
import { service } from 'millrace';
import { Echo } from ${JSON.stringify(echoModule)};
const never = () => { throw new Error('not called'); };
export const echo = service(Echo, {
  async say({ text }) {
    if (text === 'die') setTimeout(() => { throw new Error('dead'); });
    return { text };
  },
  collect: never, expand: never, chat: never, chatFast: never,
});`;
