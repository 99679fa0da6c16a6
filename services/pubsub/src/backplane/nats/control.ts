// What nats-server sends to the reader of a push consumer beside its messages.

import type { Msg } from '@nats-io/transport-node';
import type { Session } from './session.js';

/**
 * Answers flow control (ADR-15 of NATS). For a heartbeat (ADR-9): which sequence of the consumer was sent
 * last.
 */
export function answerControl(session: Session, message: Msg): number | undefined {
  const { headers } = message;
  if (headers?.code !== 100) return undefined;
  const stalled = headers.get('Nats-Consumer-Stalled');
  if (stalled !== '') session.publish(stalled, '');
  if (message.reply) {
    message.respond();
    return undefined;
  }
  const last = headers.get('Nats-Last-Consumer');
  return last === '' ? undefined : Number(last);
}
