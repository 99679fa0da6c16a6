import { SlowConsumer as Code } from './gen/millrace/pubsub/v1/pubsub.js';
import { covers, overlap } from './patterns.js';
import { illegal, unmet } from './refusals.js';

/** What happens when a subscriber has as many events waiting as it may. */
export type SlowPolicy = 'block' | 'drop-oldest' | 'drop-newest' | 'disconnect';

/** The policies by their numbers in the contract. */
export const policyOf: Readonly<Record<number, SlowPolicy>> = {
  [Code.SLOW_CONSUMER_BLOCK]: 'block',
  [Code.SLOW_CONSUMER_DROP_OLDEST]: 'drop-oldest',
  [Code.SLOW_CONSUMER_DROP_NEWEST]: 'drop-newest',
  [Code.SLOW_CONSUMER_DISCONNECT]: 'disconnect',
};

/** Every policy there is. */
export const slowPolicies: readonly SlowPolicy[] = Object.values(policyOf);

/** The policies that subscribers to these topics may choose; the first is that of who chooses none. */
export interface TopicRule {
  /** A pattern, or a topic. */
  readonly pattern: string;
  /** One at least. */
  readonly slowConsumer: readonly SlowPolicy[];
}

/** What holds where no rule does. */
export const usualPolicies: readonly SlowPolicy[] = ['drop-oldest', 'disconnect'];

/** The rules for slow subscribers: for a topic the first that matches it counts. */
export class Policies {
  readonly #rules: readonly TopicRule[];

  constructor(rules: readonly TopicRule[]) {
    this.#rules = [...rules, { pattern: '>', slowConsumer: usualPolicies }];
  }

  /**
   * The policy of a subscription. Where its pattern spans topics with different rules, all of them have
   * to allow it, for one subscriber under BLOCK stops the publishers of every topic that it matches.
   *
   * @throws StatusError INVALID_ARGUMENT for a number that there is none of, FAILED_PRECONDITION for a
   * policy that is not allowed there
   */
  choose(pattern: string, asked: Code): SlowPolicy {
    const rules = this.#rulesFor(pattern);
    const allowed = rules[0]!.slowConsumer.filter((policy) =>
      rules.every(({ slowConsumer }) => slowConsumer.includes(policy)),
    );
    if (asked === Code.SLOW_CONSUMER_UNSPECIFIED) {
      if (allowed[0] !== undefined) return allowed[0];
      throw unmet(
        'slow_consumer',
        `the topics that ${pattern} matches have no policy in common; subscribe to them one by one`,
      );
    }
    const policy = policyOf[asked];
    if (policy === undefined) {
      throw illegal(
        'slow_consumer',
        `there is no policy ${asked}; take one of ${named(slowPolicies)}`,
      );
    }
    if (allowed.includes(policy)) return policy;
    const instead =
      allowed.length === 0
        ? 'they have none in common; subscribe to them one by one'
        : `take ${named(allowed)}`;
    throw unmet(
      'slow_consumer',
      `${nameOf(policy)} is not allowed for the topics that ${pattern} matches: ${instead}, or have the server allow it by its option topics`,
    );
  }

  /** Whether a subscriber of a topic may have a policy. Then the topic's own rule has it. */
  allows(topic: string, policy: SlowPolicy): boolean {
    return this.#rulesFor(topic)[0]!.slowConsumer.includes(policy);
  }

  /** The rules of all topics that a pattern matches, in their order. */
  #rulesFor(pattern: string): TopicRule[] {
    const rules: TopicRule[] = [];
    for (const rule of this.#rules) {
      if (!overlap(rule.pattern, pattern)) continue;
      rules.push(rule);
      if (covers(rule.pattern, pattern)) break;
    }
    return rules;
  }
}

function named(policies: readonly SlowPolicy[]): string {
  return policies.map(nameOf).join(' or ');
}

/** As in the contract, without its prefix: `DROP_OLDEST`. */
export function nameOf(policy: SlowPolicy): string {
  return policy.toUpperCase().replace('-', '_');
}
