import type { Backplane, Retention } from './backplane/backplane.js';
import { OptionChecks, type Range } from './option-checks.js';
import { patternFault } from './patterns.js';
import { type SlowPolicy, slowPolicies, type TopicRule } from './policies.js';

/** Bounds of the service, in each server thread unless it says otherwise. */
export interface PubSubLimits {
  /** Bytes of a topic or pattern. Default 256. */
  readonly topicBytes: number;
  /** Tokens of a topic or pattern. Default 32. */
  readonly topicTokens: number;
  /**
   * Topics that a thread keeps ready for its publishers. Beyond, they are forgotten and matched anew, which
   * `stats().topics` counts in `topicsForgotten`; none is refused. Default 100,000.
   */
  readonly topics: number;
  /**
   * Subscriptions of the process, also those that replay. Over NATS, where each thread has a connection of
   * its own: of the thread. Default 100,000.
   */
  readonly subscriptions: number;
  /** Bytes of a payload. Default 1 MiB. */
  readonly payloadBytes: number;
  /** Bytes of all names and values of an event's attributes. Default 64 KiB. */
  readonly attributeBytes: number;
  /** Bytes of a `message_id`. Default 128. */
  readonly messageIdBytes: number;
  /**
   * Each `message_id` that the process remembers, in memory; beyond, the oldest are forgotten before
   * `duplicateWindowMs` is over, which the backplane counts as `messageIdsForgotten`. Default 1,000,000:
   * 8,333 a second for two minutes. Over NATS it is the server that remembers, without such a bound.
   */
  readonly messageIds: number;
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
  /**
   * How much is kept for replay. Default 100,000 events, 64 MiB, 1 hour; whatever is reached first. Over
   * NATS it is an option of `nats()`.
   */
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

const KiB = 1024;
const MiB = 1024 * KiB;
const U32 = 0xffffffff;
const day = 24 * 3600 * 1000;

const limitRanges = {
  topicBytes: { default: 256, least: 1, most: 256 },
  topicTokens: { default: 32, least: 1, most: 32 },
  topics: { default: 100_000, least: 1, most: 1_000_000 },
  subscriptions: { default: 100_000, least: 1, most: 10_000_000 },
  payloadBytes: { default: MiB, least: 0, most: 0x7fffffff },
  attributeBytes: { default: 64 * KiB, least: 0, most: 0x7fffffff },
  messageIdBytes: { default: 128, least: 1, most: KiB },
  messageIds: { default: 1_000_000, least: 1, most: 100_000_000 },
  pendingEvents: { default: 65_536, least: 1, most: 1_000_000 },
  openPublications: { default: 1024, least: 1, most: 1_000_000 },
  credit: { default: 65_536, least: 1, most: U32 },
  groups: { default: 1000, least: 1, most: 1_000_000 },
  unacknowledged: { default: 65_536, least: 1, most: 1_000_000 },
  unacknowledgedBytes: { default: 64 * MiB, least: 1, most: 2 ** 40 },
} as const satisfies Record<keyof PubSubLimits, Range>;

const retentionRanges = {
  count: { default: 100_000, least: 1, most: 1_000_000_000 },
  bytes: { default: 64 * MiB, least: KiB, most: 2 ** 40 },
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

const checks = new OptionChecks('pubSub()');

/** @throws MillraceError MILLRACE_OPTION_INVALID */
export function checkOptions(given: PubSubOptions): CheckedOptions {
  checks.names('option', given, known);
  const limits = checks.ranged('limits', given.limits, limitRanges);
  const space = given.space ?? 'default';
  if (typeof space !== 'string' || !/^[A-Za-z0-9_-]{1,64}$/.test(space)) {
    checks.invalid('space', space, '1 to 64 letters, digits, - and _');
  }
  const { backplane, retention } = given;
  if (backplane !== undefined && typeof backplane?.open !== 'function') {
    checks.invalid('backplane', backplane, 'what memory() or nats() returned');
  }
  if (retention !== undefined && backplane?.ownRetention === true) {
    checks.refuse(
      `has the backplane ${backplane.name}, which has bounds of its own: leave retention out, and give ${backplane.name}({ retention })`,
    );
  }
  return {
    backplane,
    space,
    topics: checks
      .list('topics', given.topics, 'an array of { pattern, slowConsumer }')
      .map((rule, index) => checkRule(`topics[${index}]`, rule, limits)),
    transient: checks
      .list('transient', given.transient, 'an array of patterns')
      .map((pattern, index) => checkPattern(`transient[${index}]`, pattern, limits)),
    retention: checks.ranged('retention', retention, retentionRanges),
    blockTimeoutMs: checks.inRange('blockTimeoutMs', given.blockTimeoutMs, times.blockTimeoutMs),
    duplicateWindowMs: checks.inRange(
      'duplicateWindowMs',
      given.duplicateWindowMs,
      times.duplicateWindowMs,
    ),
    limits,
  };
}

function checkRule(name: string, rule: unknown, limits: PubSubLimits): TopicRule {
  if (typeof rule !== 'object' || rule === null) {
    checks.invalid(name, rule, '{ pattern, slowConsumer: [...] }');
  }
  const { pattern, slowConsumer } = rule as Partial<TopicRule>;
  const allowed = checks.list(
    `${name}.slowConsumer`,
    slowConsumer,
    `policies: ${slowPolicies.join(', ')}`,
  );
  if (allowed.length === 0) {
    checks.invalid(`${name}.slowConsumer`, slowConsumer, 'one policy at least, the default first');
  }
  allowed.forEach((policy, index) => {
    if (!slowPolicies.includes(policy as SlowPolicy)) {
      checks.invalid(`${name}.slowConsumer[${index}]`, policy, `one of ${slowPolicies.join(', ')}`);
    }
  });
  return {
    pattern: checkPattern(`${name}.pattern`, pattern, limits),
    slowConsumer: allowed as SlowPolicy[],
  };
}

function checkPattern(name: string, pattern: unknown, limits: PubSubLimits): string {
  if (typeof pattern !== 'string') {
    return checks.invalid(name, pattern, 'a pattern such as orders.> or a topic');
  }
  const wrong = patternFault(pattern, limits);
  if (wrong !== undefined) checks.invalid(name, pattern, `a pattern or topic: ${wrong}`);
  return pattern;
}
