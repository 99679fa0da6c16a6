import { Status, StatusError } from 'millrace';
import { expect, test } from 'vitest';
import type { Session } from './session.js';
import { withSession } from './with-session.js';

class Trouble extends Error {}
class Refused extends Error {}

class FakeSession {
  over = false;
  readonly lost: Promise<string> = Promise.resolve('lost');

  codeOf(error: unknown): number | undefined {
    return error instanceof Refused ? 10_000 : undefined;
  }

  isTrouble(error: unknown): boolean {
    return this.over || error instanceof Trouble;
  }

  fail(): void {
    this.over = true;
  }
}

function brokerOf() {
  const sessions: FakeSession[] = [];
  return {
    sessions,
    ready: () => {
      const session = new FakeSession();
      sessions.push(session);
      return session as unknown as Session;
    },
    unavailable: (detail = 'away') => new StatusError(Status.UNAVAILABLE, detail),
  };
}

const signal = () => new AbortController().signal;
const throwing = (error: unknown) => () => Promise.reject(error);

test('with the next session when one is lost', async () => {
  const broker = brokerOf();
  let calls = 0;
  const used = withSession(broker, signal, () => {
    return ++calls < 3 ? Promise.reject(new Trouble('lost')) : Promise.resolve('done');
  });
  expect(await used).toBe('done');
  expect(broker.sessions.map(({ over }) => over)).toEqual([true, true, false]);
});

test('but not for ever', async () => {
  const broker = brokerOf();
  const used = withSession(broker, signal, throwing(new Trouble('no answer')));
  await expect(used).rejects.toThrow('NATS was lost 5 times before it had answered: no answer');
  expect(broker.sessions).toHaveLength(5);
});

test.each([
  ['a status', new StatusError(Status.OUT_OF_RANGE, 'too early'), 'too early'],
  ['a refusal of JetStream', new Refused('no room'), 'NATS refused: no room'],
  ['a defect of this side', new TypeError('undefined is not a function'), 'is not a function'],
])('%s goes to the caller at once, and the session stays', async (_what, error, said) => {
  const broker = brokerOf();
  await expect(withSession(broker, signal, throwing(error))).rejects.toThrow(said);
  expect(broker.sessions.map(({ over }) => over)).toEqual([false]);
});

test('a call that is over does not try again', async () => {
  const broker = brokerOf();
  const call = new AbortController();
  const used = withSession(
    broker,
    () => call.signal,
    () => {
      call.abort();
      return Promise.reject(new Trouble('lost'));
    },
  );
  await expect(used).rejects.toThrow('away');
  expect(broker.sessions).toHaveLength(1);
});
