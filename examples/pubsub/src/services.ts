// What this project serves. With THREADS above 1 every thread loads this module for itself; they share
// their events.

import { health } from '@millrace/health';
import { pubSub } from '@millrace/pubsub';
import { reflection } from '@millrace/reflection';
import { backplane } from './backplane.js';

export const events = pubSub({
  backplane,
  topics: [
    // Whoever subscribes may choose what happens when it does not keep up; the first is the default.
    // BLOCK lets one subscriber stop every publisher of its topics, which is for you to decide: leave it
    // out, and only DROP_OLDEST and DISCONNECT are allowed.
    { pattern: '>', slowConsumer: ['drop-oldest', 'drop-newest', 'disconnect', 'block'] },
  ],
  // What is not worth keeping: no sequence, no replay.
  transient: ['live.>'],
});

export const status = health();
export const description = reflection();
