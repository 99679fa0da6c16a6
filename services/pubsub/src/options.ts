import { MillraceError } from 'millrace';
import type { Backplane, Retention } from './backplane/backplane.js';
import { patternFault } from './patterns.js';
import { type SlowPolicy, slowPolicies, type TopicRule } from './policies.js';

/** Bounds of the service, in each server thread unless it says otherwise. */
export interface PubSubLimits {
  /** Bytes of a topic or pattern. Default 256. */
  readonly topicBytes: number;
  /** Tokens of a topic or pattern. Default 32. */
  readonly topicTokens: number;
  /** Topics that are kept ready for publishers, in the process; others are matched anew. Default 100,000. */
  readonly topics: number;
  /** Subscriptions of the process. Default 100,000. */
  readonly subscriptions: number;
  /** Bytes of a payload. Default 1 MiB. */
  readonly payloadBytes: number;
  /** Bytes of all names and values of an event's attributes. Default 64 KiB. */
  readonly attributeBytes: number;
  /** Characters of a `message_id`. Default 128. */
  readonly messageIdBytes: number;
  /** What a subscriber may ask for as `max_pending`. Default 65,536. */
  readonly pendingEvents: number;
  /** Publications of one PublishStream whose outcome is open. Default 1,024. */
  readonly openPublications: number;
  /** Credit of one consumer that is not used up. Default 65,536. */
  readonly credit: number;
  /** Groups that this thread has had: durable ones, and those of subscribers over a broker. Default 1,000. */
  readonly groups: number;
  /** Deliveries that one consumer has not acknowledged. Default 65,536. */
  readonly unacknowledged: number;
  /**
   * Bytes of the events that the durable groups of the memory backplane hold in the process, given out and
   * not acknowledged: in equal shares for the groups that hold some. Default 64 MiB.
   */
  readonly unacknowledgedBytes: number;
}

/** What `pubSub` takes; everything may be left out. */
export interface PubSubOptions {
  /** Default: `memory()`. */
  readonly backplane?: Backplane;
  /**
   * The name of the space: topics of different spaces have nothing to do with each other. Default
   * `default`. Letters, digits, `-` and `_`.
   */
  readonly space?: string;
  /**
   * The policies for slow subscribers by topic; the first rule that matches a topic counts. Elsewhere
   * `drop-oldest` (the default of subscribers) and `disconnect` are allowed.
   */
  readonly topics?: readonly TopicRule[];
  /** Patterns of topics whose events are not kept: they have no sequence, no replay and no Consume. */
  readonly transient?: readonly string[];
  /** How much is kept for replay. Default 100,000 events, 64 MiB, 1 hour; whatever is reached first. */
  readonly retention?: Partial<Retention>;
  /** How long a subscriber under BLOCK may hold publishers up before it is disconnected. Default 30 s. */
  readonly blockTimeoutMs?: number;
  /** For how long a `message_id` is remembered. Default 2 minutes. */
  readonly duplicateWindowMs?: number;
  /** Absent ones have their defaults. */
  readonly limits?: Partial<PubSubLimits>;
}

/** Options with their defaults, all valid. */
export interface CheckedOptions {
  readonly backplane: Backplane | undefined;
  readonly space: string;
  readonly topics: readonly TopicRule[];
  readonly transient: readonly string[];
  readonly retention: Retention;
  readonly blockTimeoutMs: number;
  readonly duplicateWindowMs: number;
  readonly limits: PubSubLimits;
}

interface Range {
  readonly default: number;
  readonly least: number;
  readonly most: number;
}

const KiB = 1024;
const MiB = 1024 * KiB;
const U32 = 0xffffffff;
const day = 24 * 3600 * 1000;

const limitRanges = {
  topicBytes: { default: 256, least: 1, most: 256 },
  topicTokens: { default: 32, least: 1, most: 32 },
  topics: { default: 100_000, least: 1, most: U32 },
  subscriptions: { default: 100_000, least: 1, most: U32 },
  payloadBytes: { default: MiB, least: 0, most: 0x7fffffff },
  attributeBytes: { default: 64 * KiB, least: 0, most: 0x7fffffff },
  messageIdBytes: { default: 128, least: 1, most: KiB },
  pendingEvents: { default: 65_536, least: 1, most: 1_000_000 },
  openPublications: { default: 1024, least: 1, most: 1_000_000 },
  credit: { default: 65_536, least: 1, most: U32 },
  groups: { default: 1000, least: 1, most: 1_000_000 },
  unacknowledged: { default: 65_536, least: 1, most: 1_000_000 },
  unacknowledgedBytes: { default: 64 * MiB, least: 1, most: 2 ** 40 },
} as const satisfies Record<keyof PubSubLimits, Range>;

const retentionRanges = {
  count: { default: 100_000, least: 1, most: U32 },
  bytes: { default: 64 * MiB, least: KiB, most: Number.MAX_SAFE_INTEGER },
  ageMs: { default: 3600 * 1000, least: 1, most: 365 * day },
} as const satisfies Record<keyof Retention, Range>;

const times = {
  blockTimeoutMs: { default: 30_000, least: 1, most: day },
  duplicateWindowMs: { default: 2 * 60_000, least: 1, most: day },
} as const;

const known = [
  'backplane',
  'space',
  'topics',
  'transient',
  'retention',
  'blockTimeoutMs',
  'duplicateWindowMs',
  'limits',
];

/** @throws MillraceError MILLRACE_OPTION_INVALID */
export function checkOptions(given: PubSubOptions): CheckedOptions {
  checkNames('option', given, known);
  const limits = ranged('limits', given.limits, limitRanges);
  const space = given.space ?? 'default';
  if (typeof space !== 'string' || !/^[A-Za-z0-9_-]{1,64}$/.test(space)) {
    invalid('space', space, '1 to 64 letters, digits, - and _');
  }
  const { backplane } = given;
  if (backplane !== undefined && typeof backplane?.open !== 'function') {
    invalid('backplane', backplane, 'what memory() or nats() returned');
  }
  return {
    backplane,
    space,
    topics: list('topics', given.topics, 'an array of { pattern, slowConsumer }').map(
      (rule, index) => checkRule(`topics[${index}]`, rule, limits),
    ),
    transient: list('transient', given.transient, 'an array of patterns').map((pattern, index) =>
      checkPattern(`transient[${index}]`, pattern, limits),
    ),
    retention: ranged('retention', given.retention, retentionRanges),
    blockTimeoutMs: inRange('blockTimeoutMs', given.blockTimeoutMs, times.blockTimeoutMs),
    duplicateWindowMs: inRange(
      'duplicateWindowMs',
      given.duplicateWindowMs,
      times.duplicateWindowMs,
    ),
    limits,
  };
}

function checkRule(name: string, rule: unknown, limits: PubSubLimits): TopicRule {
  if (typeof rule !== 'object' || rule === null) {
    invalid(name, rule, '{ pattern, slowConsumer: [...] }');
  }
  const { pattern, slowConsumer } = rule as Partial<TopicRule>;
  const allowed = list(
    `${name}.slowConsumer`,
    slowConsumer,
    `policies: ${slowPolicies.join(', ')}`,
  );
  if (allowed.length === 0) {
    invalid(`${name}.slowConsumer`, slowConsumer, 'one policy at least, the default first');
  }
  allowed.forEach((policy, index) => {
    if (!slowPolicies.includes(policy as SlowPolicy)) {
      invalid(`${name}.slowConsumer[${index}]`, policy, `one of ${slowPolicies.join(', ')}`);
    }
  });
  return {
    pattern: checkPattern(`${name}.pattern`, pattern, limits),
    slowConsumer: allowed as SlowPolicy[],
  };
}

function checkPattern(name: string, pattern: unknown, limits: PubSubLimits): string {
  if (typeof pattern !== 'string') invalid(name, pattern, 'a pattern such as orders.> or a topic');
  const wrong = patternFault(pattern, limits);
  if (wrong !== undefined) invalid(name, pattern, `a pattern or topic: ${wrong}`);
  return pattern;
}

function list(name: string, given: unknown, wanted: string): readonly unknown[] {
  if (given === undefined) return [];
  if (!Array.isArray(given)) invalid(name, given, wanted);
  return given;
}

/** Numbers of a table, each in its range, with the defaults of those that are absent. */
function ranged<K extends string>(
  group: string,
  given: unknown,
  ranges: { readonly [Name in K]: Range },
): { readonly [Name in K]: number } {
  if (given !== undefined && (typeof given !== 'object' || given === null)) {
    invalid(group, given, 'an object of numbers');
  }
  checkNames(group, given ?? {}, Object.keys(ranges));
  const checked: Record<string, number> = {};
  for (const [name, range] of Object.entries<Range>(ranges)) {
    const value = (given as Record<string, unknown> | undefined)?.[name];
    checked[name] = inRange(`${group}.${name}`, value, range);
  }
  return checked as { [Name in K]: number };
}

function inRange(name: string, given: unknown, { default: usual, least, most }: Range): number {
  const value = given ?? usual;
  if (Number.isInteger(value) && Number(value) >= least && Number(value) <= most) {
    return Number(value);
  }
  return invalid(name, value, `an integer from ${least} to ${most}`);
}

function checkNames(group: string, given: object, names: readonly string[]): void {
  for (const name of Object.keys(given)) {
    if (names.includes(name)) continue;
    throw new MillraceError(
      'MILLRACE_OPTION_INVALID',
      `pubSub() has no ${group === 'option' ? '' : `${group}.`}${name}; it has ${names.join(', ')}`,
    );
  }
}

function invalid(name: string, value: unknown, wanted: string): never {
  const shown =
    typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? String(value));
  throw new MillraceError(
    'MILLRACE_OPTION_INVALID',
    `pubSub(): ${name} is ${shown}, but has to be ${wanted}`,
  );
}
