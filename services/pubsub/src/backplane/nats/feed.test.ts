import { expect, test } from 'vitest';
import { Feed, type FeedHost } from './feed.js';
import type { Session } from './session.js';

/** Takes consumers, or refuses them. */
class FakeSession {
  refuses = false;
  over = false;
  readonly client = { createInbox: () => 'inbox' };

  stream() {
    return Promise.resolve({ created: 'then', state: { first_seq: 1, last_seq: 0 } });
  }

  subscribe() {
    return { unsubscribe: () => {} };
  }

  ask() {
    if (this.refuses) return Promise.reject(new Error('maximum consumers limit reached'));
    return Promise.resolve({ delivered: { stream_seq: 0 } });
  }

  flush() {
    return Promise.resolve();
  }
}

test('what the server refused is asked for again by the next subscriber', async () => {
  const names = { allTransient: 'transient.>', stream: 'STREAM' };
  const feed = new Feed({ names, local: { begin: () => {} } } as unknown as FeedHost);
  const session = new FakeSession();
  feed.begin(session as unknown as Session);
  feed.use();
  session.refuses = true;
  await expect(feed.running(session as unknown as Session)).rejects.toThrow('maximum consumers');
  session.refuses = false;
  await feed.running(session as unknown as Session);
  feed.close();
});
