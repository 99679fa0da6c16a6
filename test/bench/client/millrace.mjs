import { connect } from 'millrace';
import { Echo } from '../../../examples/echo/dist/gen/millrace/echo/v1/echo.js';
import { answers, control } from './control.mjs';

control((port) => {
  const client = connect(Echo, `127.0.0.1:${port}`);
  return {
    name: `millrace's client, driver ${process.env['MILLRACE_DRIVER'] ?? 'auto'}`,
    say: (request) => client.say(request),
    async chat(requests) {
      let good = 0;
      let next = 0;
      for await (const reply of client.chat(requests)) {
        const request = requests[next++];
        if (request !== undefined && answers(reply, request)) good++;
      }
      return good;
    },
    close: () => client[Symbol.asyncDispose](),
  };
});
