import { attach, type ServiceHost } from 'millrace';
import { expect, test } from 'vitest';
import type { PubSubOptions } from './options.js';
import { pubSub } from './pubsub.js';

const host = { onDrain: () => {}, onClose: () => {} } as unknown as ServiceHost;

/** Far more than any option may be. */
const TOO_MUCH = Number.MAX_SAFE_INTEGER;

/** The greatest value of an option, as it is told who gives more. */
function greatest(option: (value: number) => PubSubOptions): number {
  try {
    pubSub(option(TOO_MUCH));
  } catch (error) {
    return Number(/from \d+ to (\d+)/.exec(String(error))?.[1]);
  }
  return TOO_MUCH;
}

test.each([
  ['limits', 'topics'],
  ['limits', 'subscriptions'],
  ['limits', 'topicBytes'],
  ['limits', 'unacknowledgedBytes'],
  ['limits', 'messageIds'],
  ['retention', 'count'],
  ['retention', 'bytes'],
  ['retention', 'ageMs'],
])('what %s.%s may be, the topics take, too', (group, name) => {
  const option = (value: number) => ({
    space: `greatest-${group}-${name}`,
    [group]: { [name]: value },
  });
  const most = greatest(option);
  expect(() => pubSub(option(most))[attach](host)).not.toThrow();
});
