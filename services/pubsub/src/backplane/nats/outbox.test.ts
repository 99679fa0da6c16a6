import type { Msg } from '@nats-io/transport-node';
import { Status, StatusError } from 'millrace';
import { expect, test } from 'vitest';
import type { Broker } from './broker.js';
import { Outbox } from './outbox.js';
import type { Session } from './session.js';

/** As many as may be under way. */
const MOST = 65_536;
const WAIT_MS = 5000;

const broker = {
  unavailable: () => new StatusError(Status.UNAVAILABLE, 'NATS is away'),
} as unknown as Broker;

/** Answers a publication where it is told to. */
class FakeSession {
  readonly client = {
    createInbox: () => 'inbox',
    headers: () => new Map(),
  };
  readonly payloadMost = 2 ** 20;
  readonly published: string[] = [];
  failure: string | undefined;
  #receive: ((message: Msg) => void) | undefined;

  subscribe(_subject: string, receive: (message: Msg) => void) {
    this.#receive = receive;
    return { unsubscribe: () => {} };
  }

  publish(subject: string): void {
    this.published.push(subject);
  }

  fail(reason: string): void {
    this.failure = reason;
  }

  answer(token: number, text: string): void {
    const message = { subject: `inbox.${token}`, json: () => JSON.parse(text) };
    try {
      this.#receive?.(message as unknown as Msg);
    } catch (error) {
      this.fail(String(error));
    }
  }
}

/** An outbox with as much as it takes, of a call that can be ended, while NATS is away. */
function full() {
  const outbox = new Outbox(broker, WAIT_MS, 120_000);
  const call = new AbortController();
  const outcomes = Array.from({ length: MOST }, () =>
    outbox.publish('subject', new Uint8Array(1), '', () => call.signal).catch(() => {}),
  );
  return { outbox, call, outcomes };
}

/** A publisher that waits for room, as the service does. */
async function publishesLater(outbox: Outbox): Promise<void> {
  for (let room = outbox.writable(); room !== true; room = outbox.writable()) await room;
}

test('who waits for room is woken when the publications before are given up', {
  timeout: 30_000,
}, async () => {
  const { outbox, call, outcomes } = full();
  const waiting = publishesLater(outbox);
  call.abort();
  await Promise.all(outcomes);
  await waiting;
  outbox.close();
});

test('an answer that is none leaves the publication in doubt, not without an end', async () => {
  const outbox = new Outbox(broker, WAIT_MS, 120_000);
  const session = new FakeSession();
  outbox.begin(session as unknown as Session);
  const outcome = outbox.publish('subject', new Uint8Array(1), '', () => AbortSignal.abort());
  session.answer(1, 'no JSON');
  expect(session.failure).toContain('JSON');
  outbox.end();
  await expect(outcome).rejects.toThrow('it is unknown whether the event was published');
  outbox.close();
});
