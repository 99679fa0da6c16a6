import { StatusError } from 'millrace';
import type { Broker } from './broker.js';
import { messageOf, type Session } from './session.js';

/** Sessions that one call tries; the broker waits between them. */
const SESSIONS_MOST = 5;

/**
 * What asks the server for something, again with the next session where one is lost meanwhile, or does not
 * answer. Anything else goes to the caller, and the session, which is that of all calls, stays.
 *
 * @throws StatusError UNAVAILABLE; whatever else `use` throws
 */
export async function withSession<T>(
  broker: Pick<Broker, 'ready' | 'unavailable'>,
  signal: () => AbortSignal,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  for (let tried = 1; ; tried++) {
    const session = await broker.ready(signal);
    try {
      return await use(session);
    } catch (error) {
      if (StatusError.is(error)) throw error;
      if (!session.over && session.codeOf(error) !== undefined) {
        throw broker.unavailable(`NATS refused: ${messageOf(error)}`);
      }
      if (!session.isTrouble(error)) throw error;
      session.fail(messageOf(error));
      await session.lost;
      if (signal().aborted) throw broker.unavailable();
      if (tried === SESSIONS_MOST) {
        throw broker.unavailable(
          `NATS was lost ${tried} times before it had answered: ${messageOf(error)}`,
        );
      }
    }
  }
}
