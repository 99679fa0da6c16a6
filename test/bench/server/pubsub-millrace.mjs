// Millrace's pub/sub with one topic that is not kept, and BLOCK: nothing is lost.

import { pubSub } from '@millrace/pubsub';
import { serve } from 'millrace';
import { control } from './control.mjs';

const events = pubSub({
  topics: [{ pattern: 'bench.>', slowConsumer: ['block'] }],
  transient: ['bench.>'],
});
const server = await serve({
  services: [events],
  host: '127.0.0.1',
  port: 0,
  signals: false,
  log: { level: 'warn' },
});

control({
  port: server.port,
  name: `millrace, driver ${server.driver}`,
  stats: async () => {
    const { topics } = events.stats();
    const subscribers = Object.values(topics).reduce((sum, each) => sum + each.subscriptions, 0);
    return { subscribers, pubsub: events.stats(), server: await server.stats() };
  },
  close: async () => {
    await server.close();
  },
});
