import { type Field, fieldsOf, propertyOf } from '../codec/field.js';
import type { MessageType } from '../codec/message-type.js';
import { MillraceError } from '../errors.js';
import { checkNumber, type Limit } from '../limits.js';

/** The limits of topics, with default and range. {@link TopicsLimits} says what each does. */
export const topicsLimitTable = {
  topics: { default: 10_000, least: 1, most: 1_000_000 },
  subscriptions: { default: 100_000, least: 1, most: 10_000_000 },
  patternBytes: { default: 256, least: 1, most: 4096 },
  unacknowledgedBytes: { default: 64 * 1024 * 1024, least: 1, most: 2 ** 40 },
} as const satisfies Record<string, Limit>;

/** How many there may be of what topics are made of. */
export interface TopicsLimits {
  /** Topics whose subscribers a thread knows; beyond, it forgets and finds them anew, none is refused. Default 10,000. */
  readonly topics?: number;
  /** Subscriptions of the process; beyond, RESOURCE_EXHAUSTED. Default 100,000. */
  readonly subscriptions?: number;
  /** Bytes of a topic or pattern; beyond, INVALID_ARGUMENT. Default 256. */
  readonly patternBytes?: number;
  /** Bytes that durable groups hold unacknowledged, in equal shares; with its share one is given nothing new. Default 64 MiB. */
  readonly unacknowledgedBytes?: number;
}

/** What is kept, with default and range. {@link Retention} says what each does. */
const retentionTable = {
  count: { default: 100_000, least: 1, most: 1_000_000_000 },
  bytes: { default: 64 * 1024 * 1024, least: 1, most: 2 ** 40 },
  ageMs: { default: 3_600_000, least: 1, most: 10 * 365 * 24 * 3_600_000 },
} as const satisfies Record<string, Limit>;

/** How many events are kept in memory. Whichever bound is reached first evicts the oldest. */
export interface Retention {
  /** Events. Default 100,000. */
  readonly count?: number;
  /** Bytes of encoded messages. Default 64 MiB. */
  readonly bytes?: number;
  /** Milliseconds since they were published. Default an hour. */
  readonly ageMs?: number;
}

/** How topics are. */
export interface TopicsOptions {
  /**
   * Topics of one name share their events and subscribers, on all threads of the process. Default: the
   * full name of the message type.
   */
  readonly name?: string;
  /**
   * The field, a uint64 or uint32, that tells a subscriber how many events were dropped before this
   * one. It is written natively: leave it at 0.
   */
  readonly dropped?: string;
  /** The field, a uint64, with the event's sequence. It is written natively: leave it at 0. */
  readonly sequence?: string;
  /** What is kept for durable groups. Default: nothing, and events have no sequence. */
  readonly retention?: Retention;
  /** How long a subscriber with the policy `block` may make publishers wait. Default 30,000. */
  readonly blockTimeoutMs?: number;
  /** How many topics and subscriptions there may be. */
  readonly limits?: TopicsLimits;
}

/** The options as native code takes them. @throws MillraceError MILLRACE_OPTION_INVALID */
export function checkTopicsOptions(type: MessageType<unknown, never>, options: TopicsOptions) {
  const { name = type.typeName, retention, blockTimeoutMs = 30_000, limits = {} } = options;
  if (typeof name !== 'string' || name === '') {
    throw new MillraceError('MILLRACE_OPTION_INVALID', 'the name of topics is no text, or empty');
  }
  const limit = (which: keyof typeof topicsLimitTable) => {
    const { default: usual, least, most } = topicsLimitTable[which];
    return checkNumber(`limits.${which}`, limits[which] ?? usual, least, most);
  };
  return {
    name,
    sequenceField: numberOf(type, 'sequence', options.sequence, ['uint64']),
    droppedField: numberOf(type, 'dropped', options.dropped, ['uint64', 'uint32']),
    ...(retention !== undefined && { retention: checkRetention(retention) }),
    blockTimeoutMs: checkNumber('blockTimeoutMs', blockTimeoutMs, 1, 24 * 3600 * 1000),
    topics: limit('topics'),
    subscriptions: limit('subscriptions'),
    patternBytes: limit('patternBytes'),
    unacknowledgedBytes: limit('unacknowledgedBytes'),
  };
}

function checkRetention(retention: Retention) {
  const bound = (which: keyof typeof retentionTable) => {
    const { default: usual, least, most } = retentionTable[which];
    return checkNumber(`retention.${which}`, retention[which] ?? usual, least, most);
  };
  return { count: bound('count'), bytes: bound('bytes'), ageMs: bound('ageMs') };
}

/** The number of a field that native code writes; 0 if there is none. */
function numberOf(
  type: MessageType<unknown, never>,
  option: string,
  name: string | undefined,
  scalars: readonly string[],
): number {
  if (name === undefined) return 0;
  const field = fieldsOf(type)?.find((each) => each.name === name || propertyOf(each) === name);
  if (field === undefined || !isPlain(field, scalars)) {
    throw new MillraceError(
      'MILLRACE_OPTION_INVALID',
      `${option} is "${name}", but ${type.typeName} has no field of that name that is ${scalars.join(' or ')}, neither repeated nor in a oneof`,
    );
  }
  return field.number;
}

function isPlain(field: Field, scalars: readonly string[]): boolean {
  return (
    scalars.includes(field.scalar ?? '') &&
    field.map === undefined &&
    field.repeated !== true &&
    field.oneof === undefined
  );
}
