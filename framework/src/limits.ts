import { MillraceError } from './errors.js';

/** One row of a table of limits. */
export interface Limit {
  readonly default: number;
  readonly least: number;
  readonly most: number;
}

const KiB = 1024;
const MiB = 1024 * KiB;
const U16 = 0xffff;
const U32 = 0xffffffff;
const day = 24 * 3600 * 1000;

/** Every limit of a server thread, with its default and range. {@link Limits} says what each does. */
export const limitTable = {
  ringBuffers: { default: 1024, least: 16, most: 32768 },
  ringBufferBytes: { default: 16 * KiB, least: KiB, most: MiB },
  submissionEntries: { default: 1024, least: 16, most: 32768 },
  completionEntries: { default: 16384, least: 32, most: 65536 },
  sendRingEntries: { default: 256, least: 16, most: 32768 },
  sendRings: { default: 512, least: 0, most: U16 },
  streamWindowBytes: { default: 64 * KiB, least: KiB, most: 0x7fffffff },
  streamWindowBytesMax: { default: 256 * KiB, least: KiB, most: 0x7fffffff },
  connectionWindowBytes: { default: MiB, least: 65535, most: 0x7fffffff },
  connectionBudgetBytes: { default: 8 * MiB, least: 64 * KiB, most: U32 },
  bufferedBytesMax: { default: 256 * MiB, least: MiB, most: Number.MAX_SAFE_INTEGER },
  streamUnsentBytes: { default: 256 * KiB, least: KiB, most: 0x7fffffff },
  connectionUnsentBytes: { default: 8 * MiB, least: KiB, most: 0x7fffffff },
  unsentBytesMax: { default: 256 * MiB, least: KiB, most: Number.MAX_SAFE_INTEGER },
  concurrentStreams: { default: 1000, least: 1, most: 0x7fffffff },
  concurrentCalls: { default: 10_000, least: 1, most: 65536 },
  receiveMessageBytes: { default: 4 * MiB, least: 1, most: U32 },
  sendMessageBytes: { default: 4 * MiB, least: 1, most: U32 },
  headerListBytes: { default: 8 * KiB, least: 256, most: 16 * KiB },
  stalledStreamTimeoutMs: { default: 60_000, least: 1, most: day },
  sendProgressTimeoutMs: { default: 30_000, least: 1, most: day },
  connections: { default: 65536, least: 1, most: U32 },
  handshakeTimeoutMs: { default: 10_000, least: 1, most: day },
  maxConnectionIdleMs: { default: 0, least: 0, most: 365 * day },
  maxConnectionAgeMs: { default: 0, least: 0, most: 365 * day },
  maxConnectionAgeGraceMs: { default: 0, least: 0, most: 365 * day },
} as const satisfies Record<string, Limit>;

/** The limits of a server thread. Sizes are bytes and times milliseconds, as the names say. */
export interface Limits {
  /** Buffers of the receive ring; a power of two. Default 1,024. */
  readonly ringBuffers: number;
  /** Bytes of one receive buffer; a multiple of 1,024. Default 16 KiB. */
  readonly ringBufferBytes: number;
  /** Entries of io_uring's submission queue. Default 1,024. */
  readonly submissionEntries: number;
  /** Entries of io_uring's completion queue. Default 16,384. */
  readonly completionEntries: number;
  /** Entries of one send ring. Default 256. */
  readonly sendRingEntries: number;
  /** Send rings at most; connections beyond are served by vectored sends. Default 512. */
  readonly sendRings: number;
  /** What a client may send on a stream before its handler reads. Default 64 KiB. */
  readonly streamWindowBytes: number;
  /** What that grows to while the stream is read. Default 256 KiB. */
  readonly streamWindowBytesMax: number;
  /** Receive window of a connection in use, as far as the budget allows. Default 1 MiB. */
  readonly connectionWindowBytes: number;
  /** Unread bytes of one connection from which it gets no more credit. Default 8 MiB. */
  readonly connectionBudgetBytes: number;
  /** Unread bytes outside the ring, connection windows and reservations together. Default 256 MiB. */
  readonly bufferedBytesMax: number;
  /** Unsent bytes of a stream from which its handler waits. Default 256 KiB. */
  readonly streamUnsentBytes: number;
  /** Unsent bytes of a connection at most; its handlers wait from a quarter on. Default 8 MiB. */
  readonly connectionUnsentBytes: number;
  /** Unsent bytes of the thread, framed ones too, from which all handlers wait. Default 256 MiB. */
  readonly unsentBytesMax: number;
  /** Open streams of one connection. Default 1,000. */
  readonly concurrentStreams: number;
  /** Open calls of the thread; beyond, UNAVAILABLE. Default 10,000. */
  readonly concurrentCalls: number;
  /** Largest message received; beyond, RESOURCE_EXHAUSTED. Default 4 MiB. */
  readonly receiveMessageBytes: number;
  /** Largest message sent. Default 4 MiB. */
  readonly sendMessageBytes: number;
  /** Header list of a request; beyond, RESOURCE_EXHAUSTED. Default 8 KiB. */
  readonly headerListBytes: number;
  /** How long a stream may stay unread, or give no window, while that budget is full. Default 60 s. */
  readonly stalledStreamTimeoutMs: number;
  /** How long a peer may take nothing of what was sent; while `unsentBytesMax` is full, not all of it. Default 30 s. */
  readonly sendProgressTimeoutMs: number;
  /** Connections of the thread. Default 65,536. */
  readonly connections: number;
  /** Time for preface, SETTINGS and a begun header block. Default 10 s. */
  readonly handshakeTimeoutMs: number;
  /** A connection without a call is closed after this, in two steps; 0: never. Default 0. */
  readonly maxConnectionIdleMs: number;
  /** A connection is closed after this, 10 % more or less, in two steps; 0: never. Default 0. */
  readonly maxConnectionAgeMs: number;
  /** Calls that are open then end with UNAVAILABLE after this; 0: never. Default 0. */
  readonly maxConnectionAgeGraceMs: number;
}

/**
 * The given limits, all in range and able to work together. Defaults are left to the engine, but
 * for those that this side needs.
 *
 * @throws MillraceError MILLRACE_OPTION_INVALID, MILLRACE_LIMITS_CONFLICT
 */
export function checkLimits(
  given: Readonly<Record<string, unknown>>,
): Partial<Limits> & Pick<Limits, 'sendMessageBytes'> {
  const limits: Record<string, number> = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const limit = (limitTable as Record<string, Limit>)[name];
    if (limit === undefined || !Object.hasOwn(limitTable, name)) {
      throw new MillraceError(
        'MILLRACE_OPTION_INVALID',
        `there is no limit "${name}"; there are ${Object.keys(limitTable).join(', ')}`,
      );
    }
    limits[name] = checkNumber(`limits.${name}`, value, limit.least, limit.most);
  }
  const all = { ...defaults, ...limits };
  if ((all.ringBuffers & (all.ringBuffers - 1)) !== 0) {
    throw new MillraceError(
      'MILLRACE_OPTION_INVALID',
      `limits.ringBuffers is ${all.ringBuffers}, but has to be a power of two`,
    );
  }
  if (all.ringBufferBytes % KiB !== 0) {
    throw new MillraceError(
      'MILLRACE_OPTION_INVALID',
      `limits.ringBufferBytes is ${all.ringBufferBytes}, but has to be a multiple of 1,024`,
    );
  }
  checkOrder(all, 'streamWindowBytes', 'streamWindowBytesMax');
  checkOrder(all, 'streamWindowBytes', 'connectionBudgetBytes');
  checkOrder(all, 'receiveMessageBytes', 'bufferedBytesMax');
  return { sendMessageBytes: limitTable.sendMessageBytes.default, ...limits };
}

/** A whole number in a range. @throws MillraceError MILLRACE_OPTION_INVALID */
export function checkNumber(name: string, value: unknown, least: number, most: number): number {
  if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
    throw new MillraceError(
      'MILLRACE_OPTION_INVALID',
      `${name} is ${typeof value === 'string' ? `"${value}"` : String(value)}, but has to be a whole number from ${least} to ${most}`,
    );
  }
  return value as number;
}

const defaults = Object.fromEntries(
  Object.entries(limitTable).map(([name, limit]) => [name, limit.default]),
) as Record<keyof Limits, number>;

function checkOrder(limits: Record<keyof Limits, number>, low: keyof Limits, high: keyof Limits) {
  if (limits[low] > limits[high]) {
    throw new MillraceError(
      'MILLRACE_LIMITS_CONFLICT',
      `${low} (${limits[low]}) is larger than ${high} (${limits[high]})`,
    );
  }
}
