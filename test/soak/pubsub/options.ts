import { parseArgs } from 'node:util';
import type { Policy } from './settings.js';

export const POLICIES: readonly Policy[] = ['drop-oldest', 'drop-newest', 'disconnect', 'block'];

export interface Options {
  /** For each policy. */
  readonly seconds: number;
  readonly subscribers: number;
  /** Events a second, where nobody holds their publisher up. */
  readonly rate: number;
  readonly policies: readonly Policy[];
  /** After which a subscriber under BLOCK that never reads is cut. */
  readonly blockTimeoutMs: number;
}

/** @throws Error that says what is wrong */
export function readOptions(words: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...words],
    options: {
      minutes: { type: 'string', default: '10' },
      subscribers: { type: 'string', default: '1000' },
      rate: { type: 'string', default: '25' },
      policies: { type: 'string', default: POLICIES.join(',') },
      'block-timeout': { type: 'string', default: '30' },
    },
  });
  const number = (name: keyof typeof values, least: number, most: number): number => {
    const value = Number(values[name]);
    if (value >= least && value <= most) return value;
    throw new Error(
      `--${name} is ${values[name]}, but has to be a number from ${least} to ${most}`,
    );
  };
  const policies = values.policies.split(',').map((word) => {
    const policy = POLICIES.find((each) => each === word);
    if (policy !== undefined) return policy;
    throw new Error(`--policies has ${word}, but there are: ${POLICIES.join(', ')}`);
  });
  return {
    seconds: number('minutes', 0.05, 24 * 60) * 60,
    subscribers: Math.round(number('subscribers', 20, 10_000) / 10) * 10,
    rate: number('rate', 1, 10_000),
    blockTimeoutMs: number('block-timeout', 1, 600) * 1000,
    policies,
  };
}
