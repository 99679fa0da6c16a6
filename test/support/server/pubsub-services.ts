// Pub/sub, for servers with threads or in processes of their own.

import { pubSub } from '@millrace/pubsub';

export const events = pubSub({
  topics: [{ pattern: 'block.>', slowConsumer: ['block'] }],
  transient: ['transient.>'],
});
