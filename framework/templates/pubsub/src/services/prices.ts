import { service, topics } from 'millrace';
import { z } from 'zod';
import { Price, Prices } from '../gen/prices/v1/prices.js';

/**
 * What is published here goes to the watchers of every thread of this process, without a trip through
 * JavaScript for each of them.
 */
const prices = topics(Price, { dropped: 'dropped' });

/** What is not like this is answered with INVALID_ARGUMENT, naming the field. */
const setRequest = z.object({
  symbol: z.string().regex(/^\w+(\.\w+)*$/, 'Tokens with dots between them, as in metals.gold'),
  value: z.number().nonnegative(),
});

export const pricesService = service(Prices, {
  set: {
    input: setRequest,
    async handler({ symbol, value }) {
      const { delivered } = prices.publish(symbol, { symbol, value });
      return { watchers: delivered };
    },
  },

  // A watcher that does not keep up misses old prices, not the last one; `dropped` tells it how many.
  watch({ symbols }) {
    return prices.subscribe(symbols, { slowConsumer: 'drop-oldest', maxPending: 100 });
  },
});
