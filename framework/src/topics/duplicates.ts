import { openDuplicates } from '../bridge/duplicates-port.js';
import { checkNumber } from '../limits.js';

/** How long, and how many, identifiers of messages are remembered. */
export interface DuplicatesOptions {
  /** Default 120,000: two minutes. */
  readonly windowMs?: number;
  /** Beyond it the oldest are forgotten early, and counted. Default 1,000,000. */
  readonly count?: number;
}

/** The identifiers of messages that were published lately. */
export interface Duplicates {
  /**
   * Claims an identifier. `undefined`: it is new, and whoever claimed it publishes and then calls
   * `settle`, or `release` if that failed. Otherwise the sequence of the event that has it; `0n` while
   * another thread is publishing that, or if it has none.
   */
  claim(id: string): bigint | undefined;
  /** Says which sequence the event of a claimed identifier has got. */
  settle(id: string, sequence: bigint): void;
  /** Gives up a claim: nothing was published. */
  release(id: string): void;
  /** How many were forgotten before their time. */
  forgotten(): number;
}

/**
 * The identifiers of one name, the same on all threads of the process. The first thread's options hold.
 *
 * @throws MillraceError MILLRACE_OPTION_INVALID
 */
export function duplicates(name: string, options: DuplicatesOptions = {}): Duplicates {
  const windowMs = checkNumber('windowMs', options.windowMs ?? 120_000, 1, 24 * 3600 * 1000);
  const count = checkNumber('count', options.count ?? 1_000_000, 1, 100_000_000);
  const native = openDuplicates(name, windowMs, count);
  return {
    claim: (id) => native.claim(id) ?? undefined,
    settle: (id, sequence) => native.settle(id, sequence),
    release: (id) => native.release(id),
    forgotten: () => native.forgotten(),
  };
}
