import { MillraceError } from '../errors.js';
import { checkNumber, type Limit } from '../limits.js';

const KiB = 1024;
const U32 = 0xffffffff;
const day = 24 * 3600 * 1000;

/** The numbers of {@link KeepaliveOptions}, with default and range. */
export const keepaliveTable = {
  timeMs: { default: 7_200_000, least: 0, most: 365 * day },
  timeoutMs: { default: 20_000, least: 1, most: day },
  minTimeMs: { default: 300_000, least: 0, most: 365 * day },
  pingStrikes: { default: 2, least: 0, most: U32 },
} as const satisfies Record<string, Limit>;

/** PINGs in both directions (gRFC A8). */
export interface KeepaliveOptions {
  /** A silent connection is probed after this; 0: never. Default 2 h. */
  readonly timeMs?: number;
  /** Time to answer a probe. Default 20 s. */
  readonly timeoutMs?: number;
  /** Clients may probe no more often than this; 0: as often as they want. Default 5 min. */
  readonly minTimeMs?: number;
  /** How often they may do so all the same, until something is sent to them. Default 2. */
  readonly pingStrikes?: number;
  /** Clients may probe so often also while they have no call; otherwise every 2 h. Default false. */
  readonly permitWithoutCalls?: boolean;
}

/** Every limit of {@link Http2Options}, with default and range: those of the crate http2. */
export const http2Table = {
  headerFields: { default: 128, least: 16, most: 4096 },
  headerBlockBytes: { default: 32 * KiB, least: KiB, most: 1024 * KiB },
  headerTableBytes: { default: 4 * KiB, least: 0, most: 64 * KiB },
  continuationFrames: { default: 8, least: 0, most: 1024 },
  settingsEntries: { default: 32, least: 6, most: 2730 },
  resetBurst: { default: 1000, least: 1, most: 1_000_000 },
  resetRefillPerSecond: { default: 33, least: 0, most: 1_000_000 },
  resetRefillStreams: { default: 1, least: 0, most: U32 },
  settingsPerSecond: { default: 50, least: 1, most: U32 },
  pingsPerSecond: { default: 100, least: 1, most: U32 },
  emptyDataPerSecond: { default: 100, least: 1, most: U32 },
  tinyDataPerSecond: { default: 2000, least: 1, most: U32 },
  windowUpdatesBase: { default: 5, least: 1, most: U32 },
  ignoredFramesPerSecond: { default: 1000, least: 1, most: U32 },
  controlBytes: { default: 64 * KiB, least: KiB, most: 16 * 1024 * KiB },
} as const satisfies Record<string, Limit>;

/** What HTTP/2 lets a client do to a single connection, before it counts as an attack. */
export interface Http2Options {
  /** Fields of a header list; beyond, RESOURCE_EXHAUSTED. Default 128. */
  readonly headerFields?: number;
  /** Compressed bytes of a header block. Default 32 KiB. */
  readonly headerBlockBytes?: number;
  /** HPACK table that clients may use. Default 4 KiB. */
  readonly headerTableBytes?: number;
  /** CONTINUATION frames of a header block; an empty one counts twice. Default 8. */
  readonly continuationFrames?: number;
  /** Entries of a SETTINGS frame. Default 32. */
  readonly settingsEntries?: number;
  /** Resets, received before an answer or provoked, that a connection may save up. Default 1,000. */
  readonly resetBurst?: number;
  /** Of those, how many come back each second. Default 33. */
  readonly resetRefillPerSecond?: number;
  /** And one for so many streams that finished; 0: none. Default 1. */
  readonly resetRefillStreams?: number;
  /** SETTINGS frames a second. Default 50. */
  readonly settingsPerSecond?: number;
  /** PINGs a second, beside one for each DATA frame sent. Default 100. */
  readonly pingsPerSecond?: number;
  /** DATA frames a second that are empty and end nothing. Default 100. */
  readonly emptyDataPerSecond?: number;
  /** DATA frames of 1 to 4 bytes a second, beside one for each larger one. Default 2,000. */
  readonly tinyDataPerSecond?: number;
  /** WINDOW_UPDATEs a second, beside two for each stream and twenty for each DATA frame sent. Default 5. */
  readonly windowUpdatesBase?: number;
  /** Frames without effect a second, beside a hundred for each stream. Default 1,000. */
  readonly ignoredFramesPerSecond?: number;
  /** Answers to control frames that a client has not read. Default 64 KiB. */
  readonly controlBytes?: number;
}

/** By the names of the engine's options. @throws MillraceError MILLRACE_OPTION_INVALID */
export function checkKeepalive(given: unknown): Record<string, number | boolean> {
  const { permitWithoutCalls, ...rest } = group('keepalive', given);
  const known = [...Object.keys(keepaliveTable), 'permitWithoutCalls'];
  const checked: Record<string, number | boolean> = {};
  for (const [name, value] of numbers('keepalive', keepaliveTable, known, rest)) {
    checked[`keepalive${name[0]!.toUpperCase()}${name.slice(1)}`] = value;
  }
  if (permitWithoutCalls !== undefined) {
    if (typeof permitWithoutCalls !== 'boolean') {
      invalid(
        `keepalive.permitWithoutCalls is ${JSON.stringify(permitWithoutCalls)}, but has to be true or false`,
      );
    }
    checked['keepalivePermitWithoutCalls'] = permitWithoutCalls;
  }
  return checked;
}

/** By the names of the engine's options. @throws MillraceError MILLRACE_OPTION_INVALID */
export function checkHttp2(given: unknown): Record<string, number> {
  const checked = numbers('http2', http2Table, Object.keys(http2Table), group('http2', given));
  return Object.fromEntries(checked.map(([name, value]) => [`http2.${name}`, value]));
}

function group(name: string, given: unknown): Record<string, unknown> {
  if (given === undefined) return {};
  if (typeof given !== 'object' || given === null) {
    invalid(`${name} is ${JSON.stringify(given)}, but has to be an object`);
  }
  return { ...given };
}

function numbers(
  group: string,
  table: Readonly<Record<string, Limit>>,
  known: readonly string[],
  given: Record<string, unknown>,
): [string, number][] {
  return Object.entries(given).flatMap(([name, value]) => {
    const limit = Object.hasOwn(table, name) ? table[name] : undefined;
    if (limit === undefined)
      invalid(`${group} has no option "${name}"; it has ${known.join(', ')}`);
    if (value === undefined) return [];
    return [[name, checkNumber(`${group}.${name}`, value, limit.least, limit.most)]];
  });
}

function invalid(what: string): never {
  throw new MillraceError('MILLRACE_OPTION_INVALID', what);
}
