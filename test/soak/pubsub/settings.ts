// What the processes of this soak are told, and what they say.

export type Policy = 'block' | 'drop-oldest' | 'drop-newest' | 'disconnect';

/** Given to the server as JSON in MILLRACE_SOAK. */
export interface ServerSettings {
  readonly blockTimeoutMs: number;
}

/** Subscribers that are alike, each with a connection of its own. */
export interface Group {
  readonly name: string;
  readonly pattern: string;
  readonly policy: Policy;
  readonly count: number;
  readonly maxPending: number;
  /** Events a second that each takes; `all` as they come; `none`: it never reads. */
  readonly takes: number | 'all' | 'none';
}

/** What the subscribers of a group have seen so far. */
export interface GroupSample {
  readonly name: string;
  /** Events that each has received. */
  readonly received: readonly number[];
  /** As they were told, all of them together. */
  readonly dropped: number;
  /** Events that were missing without having been counted as dropped, or came out of order. */
  readonly unaccounted: number;
  /** Subscriptions that have ended, by the name of their status. */
  readonly ended: Readonly<Record<string, number>>;
}
