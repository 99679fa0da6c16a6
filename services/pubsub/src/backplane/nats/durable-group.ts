// Members of durable groups in this thread. A group is a durable pull consumer that all processes share;
// what a member asks for is pulled, so that events wait in the stream and go to whoever asks.

import { randomUUID } from 'node:crypto';
import type { ConsumerConfig, ConsumerInfo } from '@nats-io/jetstream';
import type { Msg, Subscription } from '@nats-io/transport-node';
import { Status, StatusError } from 'millrace';
import type { Event } from '../../gen/millrace/pubsub/v1/pubsub.js';
import { unmet } from '../../refusals.js';
import type { ConsumeOptions, Logger, Member, Membership } from '../backplane.js';
import { type Delivery, deliveryOf, withoutConsumerSequence } from './acknowledgement.js';
import type { Follower } from './broker.js';
import { CommonKnowledge } from './common-knowledge.js';
import type { Decoder } from './decode.js';
import { deliverFrom } from './place.js';
import { checkStart } from './replay.js';
import { ApiCode, messageOf, type Session } from './session.js';
import { durableName } from './subjects.js';

const NANOSECONDS = 1_000_000;
/** A pull request that was not used up is made again after that. */
const PULL_EXPIRES_MS = 30_000;
/** Without an answer for so much longer it is taken for lost: its consumer may have moved in a cluster. */
const PULL_OVERDUE_MS = 5000;
const CHECK_EVERY_MS = 1000;
/** Pull requests of one member that may be waiting at the server. */
const PULLS_MOST = 32;
/** Pull requests of all members of a group that may be waiting at the server. */
const MAX_WAITING = 16_384;
/** Deliveries of all members of a group that are not acknowledged. */
const MAX_ACK_PENDING = 1_000_000;
/** After a loss what was acknowledged since, or so shortly before, is acknowledged again, but not more than that. */
const ACKNOWLEDGED_AGAIN_MS = 5000;
const ACKNOWLEDGED_AGAIN_MOST = 65_536;
/** A dead letter that could not be published is tried again after that. */
const DEAD_LETTER_RETRY_MS = 1000;

const ACKNOWLEDGE = '+ACK';
const REJECT = '-NAK';
/** Bytes on the wire for a rejection whose event comes again later. */
const rejectFor = (ms: number) => `-NAK ${JSON.stringify({ delay: ms * NANOSECONDS })}`;

/** Counters of all groups. */
export interface GroupCounters {
  acknowledged: number;
  rejected: number;
  /** Deliveries of what had been acknowledged: answered without a member. */
  acknowledgedAgain: number;
  /** Deliveries of what a member had in its hands, and keeps. */
  renewed: number;
  /** Deliveries of what a consumer of another process has in its hands. */
  leftElsewhere: number;
  /** Deliveries that were not acknowledged in time. */
  timedOut: number;
  deadLetters: number;
  givenUp: number;
}

/** What groups need of the link. */
export interface GroupHost {
  readonly logger: Logger;
  readonly decoder: Decoder;
  readonly counters: GroupCounters;
  /** Publishes a dead letter so that it is stored once, however often it is tried. */
  publishDeadLetter(
    event: Event,
    sequence: bigint,
    topic: string,
    group: string,
    attempts: number,
  ): Promise<unknown>;
}

interface Outstanding {
  readonly member: GroupMember;
  readonly deliveredAt: number;
  /** Where it is acknowledged. */
  readonly reply: string;
  readonly session: Session;
}

interface Acknowledged {
  readonly reply: string;
  readonly at: number;
}

/** The members of one group in this thread. */
export class DurableGroup implements Follower {
  readonly host: GroupHost;
  readonly name: string;
  readonly consumer: string;
  readonly #members = new Set<GroupMember>();
  /** By sequence, in the order of their delivery. */
  readonly #outstanding = new Map<number, Outstanding>();
  readonly #known: CommonKnowledge;
  /** Through this process, lately; the oldest first. */
  #lately: Acknowledged[] = [];
  /** Since when what was acknowledged may not have reached the server. */
  #lostAt: number | undefined;
  #highest = 0;
  #session: Session | undefined;
  #ackWaitMs = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(host: GroupHost, group: string) {
    this.host = host;
    this.name = group;
    this.consumer = durableName(group);
    const outstanding = this.#outstanding;
    const ackWaitMs = () => this.#ackWaitMs;
    this.#known = new CommonKnowledge(group, {
      held: () => outstanding.keys(),
      get ackWaitMs() {
        return ackWaitMs();
      },
    });
    this.#timer = setInterval(() => {
      this.#expire();
      for (const member of this.#members) member.check();
    }, CHECK_EVERY_MS);
    this.#timer.unref();
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  /** Joins; the group is created if it does not exist. @throws StatusError, or Error of the session */
  async join(session: Session, options: ConsumeOptions, member: Member): Promise<Membership> {
    this.#recognize(await provideConsumer(session, this.consumer, options));
    this.#ackWaitMs = options.ackWaitMs;
    const joined = new GroupMember(this, options, member);
    this.#members.add(joined);
    if (!session.over) {
      this.#session = session;
      this.#known.begin(session);
      joined.begin(session);
    }
    return joined;
  }

  begin(session: Session): void {
    this.#session = session;
    if (this.#members.size > 0) void this.#resume(session);
  }

  end(): void {
    this.#session = undefined;
    this.#lostAt ??= performance.now();
    this.#known.end();
    for (const member of this.#members) member.end();
  }

  close(): void {
    clearInterval(this.#timer);
    for (const member of [...this.#members]) member.leave();
    this.#known.close();
  }

  /** What the server has delivered to a member. Whether the member has it now. */
  receive(session: Session, member: GroupMember, message: Msg, delivery: Delivery): boolean {
    const { sequence, attempt } = delivery;
    const reply = message.reply!;
    const { counters } = this.host;
    if (this.#known.acknowledged(sequence)) {
      counters.acknowledgedAgain++;
      session.publish(reply, ACKNOWLEDGE);
      return false;
    }
    const now = performance.now();
    const held = this.#outstanding.get(sequence);
    // Not for its time being up, but because the server has forgotten that it had delivered it.
    if (held !== undefined && now - held.deliveredAt < 0.8 * this.#ackWaitMs) {
      counters.renewed++;
      // Its time begins anew, and so does its place among the others.
      this.#outstanding.delete(sequence);
      this.#outstanding.set(sequence, { member: held.member, deliveredAt: now, reply, session });
      return false;
    }
    if (held === undefined && this.#known.heldElsewhere(sequence)) {
      // Left alone: its consumer acknowledges it, or it comes again when its time is up.
      counters.leftElsewhere++;
      return false;
    }
    if (held !== undefined) this.#drop(sequence, held);
    const event = this.host.decoder.decode(message);
    if (event === undefined) {
      // It would come again for ever.
      session.publish(reply, ACKNOWLEDGE);
      return false;
    }
    const { maxDeliveries } = member.options;
    if (maxDeliveries > 0 && attempt > maxDeliveries) {
      void this.#dead(session, member, event, message, delivery);
      return false;
    }
    // The server counts from 1 again for what it has forgotten; in the stream's order it is a repetition.
    const counted = attempt === 1 && sequence <= this.#highest ? 2 : attempt;
    this.#highest = Math.max(this.#highest, sequence);
    this.#outstanding.set(sequence, { member, deliveredAt: now, reply, session });
    member.held++;
    member.deliver(event, BigInt(sequence), counted);
    return true;
  }

  acknowledge(member: GroupMember, sequence: number): boolean {
    const held = this.#take(member, sequence);
    if (held === undefined) return false;
    this.host.counters.acknowledged++;
    this.#known.acknowledge(sequence);
    if (this.#lately.length >= ACKNOWLEDGED_AGAIN_MOST) {
      this.#lately = this.#lately.slice(ACKNOWLEDGED_AGAIN_MOST / 2);
    }
    this.#lately.push({ reply: held.reply, at: performance.now() });
    this.#answer(held, ACKNOWLEDGE);
    return true;
  }

  reject(member: GroupMember, sequence: number): boolean {
    const held = this.#take(member, sequence);
    if (held === undefined) return false;
    this.host.counters.rejected++;
    this.#answer(held, REJECT);
    return true;
  }

  /** What a member has not acknowledged goes to others. */
  left(member: GroupMember): void {
    this.#members.delete(member);
    for (const [sequence, held] of this.#outstanding) {
      if (held.member !== member) continue;
      this.#drop(sequence, held);
      this.#answer(held, REJECT);
    }
  }

  #take(member: GroupMember, sequence: number): Outstanding | undefined {
    const held = this.#outstanding.get(sequence);
    if (held?.member !== member) return undefined;
    this.#drop(sequence, held);
    return held;
  }

  #drop(sequence: number, { member }: Outstanding): void {
    this.#outstanding.delete(sequence);
    member.held--;
    member.schedule();
  }

  /** Without a session: begin() sends acknowledgements again, and a rejected event comes by its time-out. */
  #answer(held: Outstanding, payload: string): void {
    const session = this.#session;
    if (session === undefined || session.over) return;
    const reply = held.session === session ? held.reply : withoutConsumerSequence(held.reply);
    if (payload === REJECT && held.session !== session) return;
    session.publish(reply, payload);
  }

  /**
   * The dead letter is stored before the event is acknowledged. If this process dies in between, another
   * one gets the event and does the same; the message id keeps the letter from being stored twice.
   */
  async #dead(
    session: Session,
    { options }: GroupMember,
    event: Event,
    message: Msg,
    { sequence, attempt }: Delivery,
  ): Promise<void> {
    const { counters, logger } = this.host;
    const attempts = attempt - 1;
    try {
      if (options.deadLetterTopic === '') {
        counters.givenUp++;
        logger.warn(
          { group: this.name, topic: event.topic, sequence, attempts },
          'pub/sub: an event was delivered as often as it may be and is given up; with a dead_letter_topic it would be kept',
        );
      } else {
        const { deadLetterTopic } = options;
        await this.host.publishDeadLetter(
          event,
          BigInt(sequence),
          deadLetterTopic,
          this.name,
          attempts,
        );
        counters.deadLetters++;
      }
      this.#known.acknowledge(sequence);
      if (!session.over) session.publish(message.reply!, ACKNOWLEDGE);
    } catch (error) {
      logger.warn(
        { err: error, group: this.name, topic: event.topic, sequence },
        'pub/sub: a dead letter could not be published; tried again',
      );
      if (!session.over) session.publish(message.reply!, rejectFor(DEAD_LETTER_RETRY_MS));
    }
  }

  /** The members go on with a new session, if the group is still there. */
  async #resume(session: Session): Promise<void> {
    if (!(await this.verify(session))) return;
    // A server that was killed has forgotten the acknowledgements of its last moments.
    const since = (this.#lostAt ?? performance.now()) - ACKNOWLEDGED_AGAIN_MS;
    this.#lostAt = undefined;
    this.#lately = this.#lately.filter(({ at }) => at >= since);
    for (const { reply } of this.#lately) {
      session.publish(withoutConsumerSequence(reply), ACKNOWLEDGE);
    }
    this.#known.begin(session);
    await this.#known.complete();
    if (session.over) return;
    for (const member of this.#members) member.begin(session);
  }

  /** Whether the group is still there, and the same; if not, its members are told. */
  async verify(session: Session): Promise<boolean> {
    try {
      const { names } = session;
      this.#recognize(
        await session.ask((manager) => manager.consumers.info(names.stream, this.consumer)),
      );
      const { state } = await session.stream();
      // A copy from the past: the same sequences will be those of other events.
      if (state.last_seq < this.#highest) this.#forget();
      return true;
    } catch (error) {
      if (session.over) return false;
      if (session.codeOf(error) === ApiCode.CONSUMER_NOT_FOUND) this.gone();
      else session.fail(messageOf(error));
      return false;
    }
  }

  /** By what its creator has written into it: `created` changes when nats-server 2.9 is restarted. */
  #recognize({ config, ack_floor }: ConsumerInfo): void {
    if (this.#known.recognize(config.description ?? '')) this.#forget();
    // What a process that is new here would not know if the server forgot it, and the others were gone.
    this.#known.acknowledgedUpTo(ack_floor.stream_seq);
  }

  #forget(): void {
    this.#known.forget();
    this.#lately = [];
    this.#highest = 0;
    for (const [sequence, held] of this.#outstanding) this.#drop(sequence, held);
  }

  /** What was not acknowledged in time is delivered again by the server, to whoever asks. */
  #expire(): void {
    const before = performance.now() - this.#ackWaitMs - CHECK_EVERY_MS;
    for (const [sequence, held] of this.#outstanding) {
      if (held.deliveredAt > before) return;
      this.host.counters.timedOut++;
      this.#drop(sequence, held);
    }
  }

  /** Somebody has deleted the group, and where it was with it. */
  gone(): void {
    const error = new StatusError(
      Status.ABORTED,
      `the group ${this.name} was deleted in NATS; join it again to create it anew`,
    );
    for (const member of [...this.#members]) member.fail(error);
  }
}

/** One Consume call. */
class GroupMember implements Membership {
  readonly options: ConsumeOptions;
  readonly #group: DurableGroup;
  readonly #member: Member;
  /** Deliveries that it has not acknowledged; kept by the group. */
  held = 0;
  /** Asked for and not pulled. */
  #wanted = 0;
  /** Pulled and not delivered. */
  #pulled = 0;
  /** Pull requests at the server; possibly fewer, since the end of one that is used up is not told. */
  #pulls = 0;
  #scheduled = false;
  #heardAt = 0;
  #session: Session | undefined;
  #subscription: Subscription | undefined;
  #inbox = '';
  #left = false;

  constructor(group: DurableGroup, options: ConsumeOptions, member: Member) {
    this.#group = group;
    this.options = options;
    this.#member = member;
  }

  // --- for the service ---

  request(count: number): void {
    this.#wanted += count;
    this.schedule();
  }

  acknowledge(sequence: bigint): boolean {
    return this.#group.acknowledge(this, Number(sequence));
  }

  reject(sequence: bigint): boolean {
    return this.#group.reject(this, Number(sequence));
  }

  leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#group.left(this);
    // What is on its way is received, and rejected.
    this.#subscription?.drain().catch(() => {});
    this.#subscription = undefined;
  }

  // --- for the group ---

  begin(session: Session): void {
    if (this.#left || session === this.#session) return;
    this.#session = session;
    this.#subscribe(session);
    this.schedule();
  }

  end(): void {
    this.#session = undefined;
    this.#forgetPulls();
  }

  deliver(event: Event, sequence: bigint, attempt: number): void {
    this.#member.deliver(event, sequence, attempt);
  }

  fail(error: StatusError): void {
    if (this.#left) return;
    this.leave();
    this.#member.failed(error);
  }

  check(): void {
    const session = this.#session;
    if (session === undefined || this.#pulled === 0) return;
    if (performance.now() - this.#heardAt < PULL_EXPIRES_MS + PULL_OVERDUE_MS) return;
    this.#forgetPulls();
    // Another inbox: should they be answered after all, nobody is there.
    this.#subscribe(session);
    void this.#group.verify(session);
    this.schedule();
  }

  #forgetPulls(): void {
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    this.#wanted += this.#pulled;
    this.#pulled = 0;
    this.#pulls = 0;
  }

  #subscribe(session: Session): void {
    this.#inbox = session.client.createInbox();
    this.#subscription = session.subscribe(this.#inbox, (message) => {
      this.#receive(session, message);
    });
  }

  /** What is asked for in one turn is one request. */
  schedule(): void {
    if (this.#scheduled || this.#session === undefined || this.#wanted === 0) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#pull();
    });
  }

  #pull(): void {
    const session = this.#session;
    if (session === undefined || session.over || this.#left || this.#wanted === 0) return;
    if (this.#pulled === 0) this.#pulls = 0;
    if (this.#pulls >= PULLS_MOST) return;
    // Few large requests rather than one for each event: at least half of what is asked for is at the server.
    if (this.#wanted < this.#pulled) return;
    const batch = Math.min(this.#wanted, this.options.maxUnacknowledged - this.held - this.#pulled);
    if (batch <= 0) return;
    this.#wanted -= batch;
    this.#pulled += batch;
    this.#pulls++;
    this.#heardAt = performance.now();
    session.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${session.names.stream}.${this.#group.consumer}`,
      JSON.stringify({ batch, expires: PULL_EXPIRES_MS * NANOSECONDS }),
      { reply: this.#inbox },
    );
  }

  #receive(session: Session, message: Msg): void {
    const delivery = deliveryOf(message.reply);
    if (delivery === undefined) {
      this.#status(session, message);
      return;
    }
    if (this.#left) {
      session.publish(message.reply!, REJECT);
      return;
    }
    this.#heardAt = performance.now();
    if (this.#pulled > 0) this.#pulled--;
    if (!this.#group.receive(session, this, message, delivery)) this.#wanted++;
    this.schedule();
  }

  /** The end of a pull request that was not used up. */
  #status(session: Session, message: Msg): void {
    if (this.#left) return;
    const { headers } = message;
    this.#heardAt = performance.now();
    const description = headers?.description.toLowerCase() ?? '';
    if (headers?.code === 409 && description.includes('deleted')) {
      this.#group.gone();
      return;
    }
    if (headers?.code === 503) {
      session.fail('JetStream does not answer at the moment');
      return;
    }
    const rest = Number(headers?.get('Nats-Pending-Messages') || 0);
    const unused = Math.min(rest, this.#pulled);
    this.#pulled -= unused;
    this.#wanted += unused;
    if (this.#pulls > 0) this.#pulls--;
    this.schedule();
  }
}

/** Creates the consumer of a group, or sees that the one there is what is asked for. */
async function provideConsumer(
  session: Session,
  name: string,
  options: ConsumeOptions,
): Promise<ConsumerInfo> {
  const { names } = session;
  const wanted: Partial<ConsumerConfig> = {
    durable_name: name,
    description: `${options.group} ${randomUUID()}`,
    ack_policy: 'explicit',
    ack_wait: options.ackWaitMs * NANOSECONDS,
    ...deliverFrom(options.start),
    ...names.filter(options.pattern),
    // Counted here: the server would only say so, to whoever listens at that moment, and never deliver
    // the event again.
    max_deliver: -1,
    max_ack_pending: MAX_ACK_PENDING,
    max_waiting: MAX_WAITING,
  };
  let found: ConsumerInfo;
  try {
    found = await session.ask((manager) => manager.consumers.info(names.stream, name));
  } catch (error) {
    if (session.codeOf(error) !== ApiCode.CONSUMER_NOT_FOUND) throw error;
    // A group that exists goes on where it was, whatever its members say.
    await checkStart(session, options.start);
    try {
      found = await session.ask((manager) => manager.consumers.add(names.stream, wanted));
    } catch (failure) {
      if (session.codeOf(failure) === undefined) throw failure;
      // Another process may have been faster, with another start.
      found = await session.ask((manager) => manager.consumers.info(names.stream, name));
    }
  }
  const { config } = found;
  const pattern = names.patternOf(config.filter_subject);
  if (pattern !== options.pattern) {
    throw unmet(
      'pattern',
      `the group ${options.group} exists with the pattern ${pattern}; give that, or take another group`,
    );
  }
  if (config.ack_wait !== wanted.ack_wait) {
    const has = (config.ack_wait ?? 0) / NANOSECONDS;
    throw unmet(
      'ack_wait',
      `the group ${options.group} exists with ${has / 1000} s; give that, or take another group`,
    );
  }
  return found;
}
