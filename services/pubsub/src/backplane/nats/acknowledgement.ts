// The reply subject of a JetStream delivery, which says what was delivered and takes the acknowledgement:
// $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>, and from
// a server that knows domains with <domain>.<account> behind ACK and a random token at the end.

const NANOSECONDS = 1_000_000;

/** What JetStream says of a delivery. */
export interface Delivery {
  /** In the stream. */
  readonly sequence: number;
  /** Counted by the consumer; a gap says that deliveries were lost. */
  readonly consumerSequence: number;
  /** How often it was delivered, with this time. */
  readonly attempt: number;
  /** When it was stored: milliseconds since 1970. */
  readonly time: number;
  /** How many the consumer has left to deliver for the first time. */
  readonly pending: number;
}

/** `undefined` if it is no delivery. */
export function deliveryOf(reply: string | undefined): Delivery | undefined {
  if (!reply?.startsWith('$JS.ACK.')) return undefined;
  const tokens = reply.split('.');
  const first = firstNumber(tokens);
  const numbers = tokens.slice(first, first + 5).map(Number);
  if (numbers.length < 5 || numbers.some(Number.isNaN)) return undefined;
  const [attempt, sequence, consumerSequence, time, pending] = numbers;
  return {
    attempt: attempt!,
    sequence: sequence!,
    consumerSequence: consumerSequence!,
    time: Math.floor(time! / NANOSECONDS),
    pending: pending!,
  };
}

/**
 * The subject for an acknowledgement that a server may get which was restarted since the delivery. Such a
 * server may have forgotten the last deliveries and count anew from an earlier one, and a consumer
 * sequence that now means another event would move its floor of acknowledged events past events that
 * nobody has acknowledged. 0 means none: nats-server then goes by the sequence in the stream alone.
 */
export function withoutConsumerSequence(reply: string): string {
  const tokens = reply.split('.');
  tokens[firstNumber(tokens) + 2] = '0';
  return tokens.join('.');
}

function firstNumber(tokens: readonly string[]): number {
  return tokens.length < 11 ? 4 : 6;
}
