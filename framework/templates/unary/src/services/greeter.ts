import { service } from 'millrace';
import { z } from 'zod';
import { Greeter } from '../gen/greeter/v1/greeter.js';

/** What is not like this is answered with INVALID_ARGUMENT, naming the field. */
const greetRequest = z.object({ name: z.string().trim().min(1).max(100) });

export const greeter = service(Greeter, {
  greet: {
    input: greetRequest,
    async handler(request) {
      return { text: `Hello, ${request.name}!` };
    },
  },
});
