// What things are called in NATS.

/**
 * The names of one space. Topics and patterns need no translation: NATS has the same tokens and
 * wildcards, and what the service refuses in a topic (white space, control characters) is what NATS has
 * no place for.
 */
export class Names {
  /** The stream that keeps the space's events. */
  readonly stream: string;
  /** Every subject of kept events. */
  readonly allStored: string;
  /** Every subject of transient events. */
  readonly allTransient: string;
  readonly #prefix: string;

  /** @throws Error for a space that NATS has no name for */
  constructor(space: string) {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(space)) {
      throw new Error(
        `the space ${JSON.stringify(space)} cannot be used with NATS, where it becomes a part of names: take 1 to 64 letters, digits, "_" and "-"`,
      );
    }
    this.#prefix = `millrace.${space}`;
    this.stream = `MILLRACE_${space}`;
    this.allStored = this.stored('>');
    this.allTransient = this.transient('>');
  }

  /** The subject of a topic or pattern whose events are kept. */
  stored(pattern: string): string {
    return `${this.#prefix}.stored.${pattern}`;
  }

  /**
   * What a consumer of the stream is told about a pattern: nothing where it wants everything. nats-server
   * 2.9 before 2.9.15 counts what is left for a consumer with a filter by reading its events, for each
   * delivery, unless they are few or it began with the first.
   */
  filter(pattern: string): { filter_subject?: string } {
    return pattern === '>' ? {} : { filter_subject: this.stored(pattern) };
  }

  /** The pattern of a consumer of the stream. */
  patternOf(filter: string | undefined): string {
    return filter === undefined || filter === '' ? '>' : this.topicOf(filter);
  }

  /** The subject of a topic or pattern whose events are not kept. */
  transient(pattern: string): string {
    return `${this.#prefix}.transient.${pattern}`;
  }

  /** Where the members of a queue group get the kept events of a topic or pattern. */
  queue(group: string, pattern: string): string {
    return `${this.#prefix}.queue.${group}.${pattern}`;
  }

  /** Where it is said that nobody reads for a queue group any more. */
  queueReader(group: string): string {
    return `${this.#prefix}.queue-reader.${group}`;
  }

  /** Where processes tell each other what the members of a group have acknowledged. */
  acknowledged(group: string): string {
    return `${this.#prefix}.acknowledged.${group}`;
  }

  /** The topic of a subject, stored or transient. */
  topicOf(subject: string): string {
    const kind = subject.indexOf('.', this.#prefix.length + 1);
    return subject.slice(kind + 1);
  }
}

/** The durable consumer of a Consume group. */
export function durableName(group: string): string {
  return `group_${group}`;
}

/** The consumer of a Subscribe group. */
export function queueName(group: string): string {
  return `queue_${group}`;
}
