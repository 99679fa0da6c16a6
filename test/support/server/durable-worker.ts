// A thread with a member of a durable group that asks for three events and acknowledges none.

import { parentPort, workerData } from 'node:worker_threads';
import { Event } from '@millrace/pubsub';
import { joinDurableGroup, topics } from 'millrace';

const { name, group } = workerData as { name: string; group: string };
const events = topics(Event, { name, sequence: 'sequence', retention: { count: 100_000 } });
const member = joinDurableGroup(events, group, {
  pattern: '>',
  ackWaitMs: 60_000,
  maxDeliveries: 0,
  maxUnacknowledged: 1000,
  deliver: (_, sequence) => parentPort?.postMessage(Number(sequence)),
});
member.request(3);
parentPort?.on('message', () => events.publish('jobs.other', { topic: 'jobs.other' }));
parentPort?.postMessage('ready');
