import { DurablePort } from '../bridge/durable-port.js';
import { MillraceError } from '../errors.js';
import { checkNumber } from '../limits.js';
import { badRequest } from '../status/details.js';
import { Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';
import { codeOf, insideOf, type Start, type Topics } from './topics.js';

/** Events that a member takes at a time, so that several of one thread have their turns. */
const TURN = 16;
/** Events that the members of a thread take before others have their turn at the event loop. */
const TURNS_TOGETHER = 256;

/** Ranges of what a member asks for; more would not fit the numbers of native code. */
const U32 = 2 ** 32 - 1;

/** What the members of a durable group agree on, and what one of them wants. */
export interface DurableOptions<M> {
  /** The group's topics. Another pattern than the group was made with is refused. */
  readonly pattern: string;
  /** Where a group begins that does not exist yet. Default `latest`. */
  readonly start?: Start;
  /**
   * An event that is not acknowledged for so long is delivered again. For the group, from now on. From 1 ms
   * to 49 days.
   */
  readonly ackWaitMs: number;
  /** How often an event is delivered at most; 0: without a limit. For the group, from now on. */
  readonly maxDeliveries: number;
  /**
   * Deliveries that this member may hold unacknowledged; it gets no more, whatever it requested. All
   * members together hold at most 65,536, and no more bytes than the topics' `limits.unacknowledgedBytes`
   * leaves to their group.
   */
  readonly maxUnacknowledged: number;
  /** Takes one delivery. Not called from within `request`, `acknowledge`, `reject` or `leave`. */
  deliver(message: M, sequence: bigint, attempt: number): void;
  /**
   * An event was delivered as often as it may be, and acknowledged by nobody. Called for one member of
   * the group, also while it leaves; without it, such events are only counted.
   */
  deadLetter?(message: M, sequence: bigint, attempts: number): void;
}

/** A member of a durable group. What is not its own, or not any more, makes the answer `false`. */
export interface DurableMember {
  /**
   * Asks for so many deliveries, in addition to those that were requested before.
   *
   * @throws MillraceError MILLRACE_OPTION_INVALID, unless it is a whole number of 32 bits
   */
  request(count: number): void;
  /** An event is done with. */
  acknowledge(sequence: bigint): boolean;
  /** An event is to be delivered again at once, to any member. */
  reject(sequence: bigint): boolean;
  /** What it has not acknowledged is delivered to the others at once. Again is nothing. */
  leave(): void;
}

/**
 * Joins a durable group: each event of the topics goes to one member of the group, on whichever thread
 * of the process, and again until one has acknowledged it. The group stays when its last member has
 * left, until the process ends.
 *
 * New events come in the order of their sequences, and those that are delivered again before them. So a
 * member that is alone, and neither rejects nor lets the time run out, sees ascending sequences.
 *
 * @throws StatusError INVALID_ARGUMENT (group, pattern), FAILED_PRECONDITION (nothing is retained, or
 * the group has another pattern), OUT_OF_RANGE (the start is not retained any more),
 * RESOURCE_EXHAUSTED (more than 1,000 groups); MillraceError MILLRACE_OPTION_INVALID
 */
export function joinDurableGroup<M, Init>(
  topics: Topics<M, Init>,
  group: string,
  options: DurableOptions<M>,
): DurableMember {
  let members = ofTopics.get(topics) as Members<M> | undefined;
  if (members === undefined) {
    members = new Members(topics);
    ofTopics.set(topics, members);
  }
  return members.join(group, options);
}

const ofTopics = new WeakMap<object, unknown>();

/** The members of this thread in all groups of some topics. */
class Members<M> {
  readonly #port: DurablePort<M>;
  readonly #members = new Map<number, Member<M>>();
  readonly #groups = new Map<string, Group<M>>();
  /** Members that may be given something, in turn. */
  readonly #ready = new Set<Member<M>>();
  #scheduled = false;

  constructor(topics: Topics<M, never>) {
    const { port, type, closing } = insideOf(topics);
    try {
      this.#port = new DurablePort(port.native, type, () => this.#wake());
    } catch (error) {
      throw durableError(error);
    }
    closing.add(() => this.#close());
  }

  join(name: string, options: DurableOptions<M>): DurableMember {
    const { start = 'latest' } = options;
    const startAt =
      typeof start === 'string'
        ? undefined
        : 'sequence' in start
          ? start.sequence
          : BigInt(checkNumber('start.time', Math.trunc(start.time), 0, Number.MAX_SAFE_INTEGER));
    const numbers = {
      ackWaitMs: checkNumber('ackWaitMs', options.ackWaitMs, 1, U32),
      deliveriesMax: checkNumber('maxDeliveries', options.maxDeliveries, 0, U32),
      unacknowledgedMax: checkNumber('maxUnacknowledged', options.maxUnacknowledged, 1, U32),
    };
    let number: number;
    try {
      number = this.#port.join({
        ...numbers,
        group: name,
        pattern: options.pattern,
        start: typeof start === 'string' ? start : 'sequence' in start ? 'sequence' : 'time',
        ...(startAt !== undefined && { startAt }),
      });
    } catch (error) {
      throw durableError(error);
    }
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = { name, members: new Set(), timer: undefined };
      this.#groups.set(name, group);
    }
    const member: Member<M> = { number, group, options, wanted: 0, left: false };
    this.#members.set(number, member);
    group.members.add(member);
    // Others may have left something undone.
    this.#expire(group);
    return {
      request: (count) => {
        member.wanted += checkNumber('count', count, 0, U32);
        this.#makeReady(member);
      },
      acknowledge: (sequence) => {
        const itsOwn = !member.left && this.#port.acknowledge(number, sequence);
        if (itsOwn) this.#makeReady(member);
        return itsOwn;
      },
      reject: (sequence) => {
        const itsOwn = !member.left && this.#port.reject(number, sequence);
        if (itsOwn) {
          this.#makeReady(member);
          this.#bury(member);
        }
        return itsOwn;
      },
      leave: () => this.#leave(member),
    };
  }

  #leave(member: Member<M>): void {
    if (member.left) return;
    member.left = true;
    const { group } = member;
    this.#ready.delete(member);
    this.#members.delete(member.number);
    group.members.delete(member);
    this.#port.leave(member.number, buryFor(member));
    if (group.members.size > 0) return;
    clearTimeout(group.timer);
    this.#groups.delete(group.name);
  }

  #close(): void {
    try {
      for (const member of [...this.#members.values()]) this.#leave(member);
    } finally {
      this.#port.close();
    }
  }

  #wake(): void {
    for (const number of this.#port.woken()) {
      const member = this.#members.get(number);
      if (member !== undefined) this.#makeReady(member);
    }
  }

  #makeReady(member: Member<M>): void {
    if (member.wanted === 0 || member.left) return;
    this.#ready.add(member);
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.#serve());
  }

  /** Gives those that are ready what there is for them, in turn. */
  #serve(): void {
    let left = TURNS_TOGETHER;
    for (const member of this.#ready) {
      if (left <= 0) {
        setImmediate(() => this.#serve());
        return;
      }
      this.#ready.delete(member);
      if (member.wanted === 0) continue;
      const again = this.#port.take(
        member.number,
        Math.min(member.wanted, TURN),
        (message, sequence, attempt) => {
          left--;
          member.wanted--;
          if (!member.left) member.options.deliver(message, sequence, attempt);
        },
      );
      if (again && !member.left && member.wanted > 0) this.#ready.add(member);
      if (member.group.timer === undefined && !member.left) this.#arm(member.group, member);
    }
    this.#scheduled = false;
  }

  /** Sees to what is due in a group, and comes back when the next is. */
  #expire(group: Group<M>): void {
    const [member] = group.members;
    if (member === undefined) return;
    this.#arm(group, member);
    this.#bury(member);
    // Those that held as many as they may do so no longer.
    for (const each of group.members) this.#makeReady(each);
  }

  #arm(group: Group<M>, member: Member<M>): void {
    clearTimeout(group.timer);
    group.timer = undefined;
    const dueMs = this.#port.expire(member.number);
    if (dueMs < 0) return;
    // Later than it is due, so that it does not come back for the same millisecond.
    group.timer = setTimeout(() => this.#expire(group), Math.min(dueMs + 1, 2 ** 31 - 1));
    group.timer.unref();
  }

  #bury(member: Member<M>): void {
    this.#port.deadLetters(member.number, buryFor(member));
  }
}

/** A group, as far as this thread is in it. */
interface Group<M> {
  readonly name: string;
  readonly members: Set<Member<M>>;
  timer: NodeJS.Timeout | undefined;
}

interface Member<M> {
  readonly number: number;
  readonly group: Group<M>;
  readonly options: DurableOptions<M>;
  /** Deliveries that were requested and have not come. */
  wanted: number;
  left: boolean;
}

function buryFor<M>({ options }: Member<M>) {
  return (message: M, sequence: bigint, attempts: number) =>
    options.deadLetter?.(message, sequence, attempts);
}

/** What native code says of a group, for the peer. */
function durableError(error: unknown): unknown {
  const { message } = error as Error;
  switch (codeOf(error)) {
    case 'MILLRACE_PATTERN_ILLEGAL':
      return invalid('pattern', message);
    case 'MILLRACE_GROUP_ILLEGAL':
      return invalid('group', message);
    case 'MILLRACE_GROUP_CONFLICT':
    case 'MILLRACE_TOPICS_NOT_RETAINED':
      return new StatusError(Status.FAILED_PRECONDITION, message);
    case 'MILLRACE_START_OUT_OF_RANGE':
      return new StatusError(Status.OUT_OF_RANGE, message);
    case 'MILLRACE_TOPICS_CLOSED':
      return new MillraceError('MILLRACE_TOPICS_CLOSED');
    case 'MILLRACE_GROUPS_FULL':
      return new StatusError(Status.RESOURCE_EXHAUSTED, message);
    default:
      return error;
  }
}

function invalid(field: string, description: string): StatusError {
  return new StatusError(Status.INVALID_ARGUMENT, `${field}: ${description}`, {
    details: [badRequest([{ field, description }])],
  });
}
