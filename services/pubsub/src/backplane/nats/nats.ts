import { threadId } from 'node:worker_threads';
import { toBinary } from 'millrace/codec';
import { Event } from '../../gen/millrace/pubsub/v1/pubsub.js';
import { overlap } from '../../patterns.js';
import { unmet } from '../../refusals.js';
import type {
  Backplane,
  BackplaneHost,
  BackplaneLink,
  ConsumeOptions,
  Eventually,
  Interest,
  InterestOptions,
  Member,
  Membership,
  Publication,
  Published,
  Start,
} from '../backplane.js';
import { deadLetterOf } from '../dead-letter.js';
import { Broker } from './broker.js';
import { requireClient } from './client.js';
import { Decoder } from './decode.js';
import { DurableGroup, type GroupCounters } from './durable-group.js';
import { Feed } from './feed.js';
import { LocalEvents } from './local-events.js';
import { checkOptions, type NatsOptions, type Settings } from './options.js';
import { Outbox, tooLarge } from './outbox.js';
import { Place } from './place.js';
import { type QueueCounters, QueueGroup } from './queue-group.js';
import { checkStart, follow, type ReaderHost, replay } from './replay.js';
import type { Session } from './session.js';
import { Names } from './subjects.js';
import { withSession } from './with-session.js';

/**
 * The backplane of several processes and of events that outlive them: NATS, with JetStream. Needs
 * nats-server 2.9 or newer, and the packages `@nats-io/transport-node` and `@nats-io/jetstream` 3.3.1.
 *
 * @throws MillraceError MILLRACE_OPTION_INVALID; Error naming the command that installs what is missing
 */
export function nats(options: NatsOptions = {}): Backplane {
  const settings = checkOptions(options);
  requireClient();
  return { name: 'nats', ownRetention: true, open: (host) => new NatsLink(host, settings) };
}

/** What is kept locally: as much as a replay may be behind the feed when it goes over to it. */
const BRIDGE = { count: 65_536, bytes: 16 * 2 ** 20, ageMs: 60_000 };
/** A group's events are not replayed. */
const NOTHING = { count: 1, bytes: 1024, ageMs: 1000 };

/** Several links of one process have nothing in common: each has its own feed and local events. */
let links = 0;

class NatsLink implements BackplaneLink {
  readonly #host: BackplaneHost;
  readonly #names: Names;
  readonly #broker: Broker;
  readonly #outbox: Outbox;
  readonly #feed: Feed;
  readonly #decoder: Decoder;
  readonly #link: string;
  readonly #local: LocalEvents;
  readonly #readers: ReaderHost;
  readonly #groups = new Map<string, DurableGroup>();
  readonly #queues = new Map<string, QueueGroup>();
  readonly #groupCounters: GroupCounters = {
    acknowledged: 0,
    rejected: 0,
    acknowledgedAgain: 0,
    renewed: 0,
    leftElsewhere: 0,
    timedOut: 0,
    deadLetters: 0,
    givenUp: 0,
  };
  readonly #queueCounters: QueueCounters = { events: 0, passedOn: 0 };
  #replays = 0;
  #replayMissed = 0;

  constructor(host: BackplaneHost, settings: Settings) {
    this.#host = host;
    this.#names = new Names(host.space);
    this.#link = `${host.space}/nats/${threadId}/${++links}`;
    let streams = 0;
    this.#local = new LocalEvents(() => {
      const name = streams++ === 0 ? this.#link : `${this.#link}/stream ${streams}`;
      return { name, events: host.topics(name, BRIDGE) };
    });
    const { logger } = host;
    const names = this.#names;
    // Longer than events are kept nothing is remembered of them: the server refuses it.
    const duplicateWindowMs = Math.min(
      host.duplicateWindowMs,
      settings.retention.ageMs || host.duplicateWindowMs,
    );
    if (duplicateWindowMs < host.duplicateWindowMs) {
      logger.warn(
        { duplicateWindowMs, wanted: host.duplicateWindowMs },
        'pub/sub: a message_id is remembered for no longer than events are kept; raise retention.ageMs of nats(), or lower duplicateWindowMs',
      );
    }
    const broker = new Broker({ settings, names, duplicateWindowMs, logger });
    const decoder = new Decoder(names, logger);
    this.#broker = broker;
    this.#decoder = decoder;
    this.#outbox = new Outbox(broker, settings.waitMs, duplicateWindowMs);
    this.#feed = new Feed({ broker, names, decoder, local: this.#local, logger });
    const missed = (count: number) => {
      this.#replayMissed += count;
    };
    this.#readers = { broker, decoder, logger, missed };
    this.#broker.follow(this.#feed, this.#outbox, {
      begin: (session) => {
        for (const follower of this.#shared()) follower.begin(session);
      },
      end: () => {
        for (const follower of this.#shared()) follower.end();
      },
    });
  }

  publish(publication: Publication, signal: () => AbortSignal): Eventually<Published> {
    const { event, messageId, transient } = publication;
    const data = toBinary(Event, event);
    if (transient) return this.#publishTransient(event.topic, data, signal);
    const subject = this.#names.stored(event.topic);
    const outcome = this.#outbox.publish(subject, data, encodeURIComponent(messageId), signal);
    return outcome.then(async ({ sequence, duplicate }) => ({
      sequence: BigInt(sequence),
      delivered: duplicate ? 0 : await this.#feed.delivered(sequence),
      duplicate,
    }));
  }

  writable(topic: string): true | Promise<void> {
    const room = this.#outbox.writable();
    return room === true ? this.#local.writable(topic) : room;
  }

  interest(options: InterestOptions, signal: () => AbortSignal): Promise<Interest> {
    const { pattern, group, start, blocking } = options;
    return withSession(this.#broker, signal, (session) => {
      if (group !== '') return this.#queueInterest(session, pattern, group, start);
      if (blocking) return this.#blockingInterest(session, pattern, start, signal);
      return this.#interest(session, pattern, start, signal);
    });
  }

  consume(options: ConsumeOptions, member: Member, signal: () => AbortSignal): Promise<Membership> {
    return withSession(this.#broker, signal, async (session) => {
      let group = this.#groups.get(options.group);
      if (group === undefined) {
        group = new DurableGroup(
          {
            logger: this.#host.logger,
            decoder: this.#decoder,
            counters: this.#groupCounters,
            publishDeadLetter: (...letter) => this.#publishDeadLetter(...letter),
          },
          options.group,
        );
        this.#groups.set(options.group, group);
      }
      return group.join(session, options, member);
    });
  }

  stats(): Readonly<Record<string, number>> {
    const { events, transientEvents, resumed, missed } = this.#feed.counters;
    const groups = this.#groupCounters;
    let unacknowledged = 0;
    for (const group of this.#groups.values()) unacknowledged += group.outstanding;
    return {
      connected: this.#broker.session === undefined ? 0 : 1,
      sessions: this.#broker.sessions,
      publicationsUnderWay: this.#outbox.underWay,
      publicationsResent: this.#outbox.resent,
      publicationsRefused: this.#outbox.refused,
      publicationsUnknown: this.#outbox.unknown,
      feedEvents: events,
      feedTransientEvents: transientEvents,
      feedResumed: resumed,
      feedMissed: missed,
      streamReplaced: this.#broker.streamReplaced,
      queueEvents: this.#queueCounters.events,
      queueEventsPassedOn: this.#queueCounters.passedOn,
      foreignMessages: this.#decoder.foreign,
      replays: this.#replays,
      replayMissed: this.#replayMissed,
      unacknowledged,
      acknowledged: groups.acknowledged,
      acknowledgedAgain: groups.acknowledgedAgain,
      rejected: groups.rejected,
      renewed: groups.renewed,
      leftElsewhere: groups.leftElsewhere,
      timedOut: groups.timedOut,
      deadLetters: groups.deadLetters,
      givenUp: groups.givenUp,
    };
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#shared(), (follower) => follower.close()));
    this.#feed.close();
    await this.#broker.close();
    this.#outbox.close();
  }

  *#shared(): Iterable<DurableGroup | QueueGroup> {
    yield* this.#groups.values();
    yield* this.#queues.values();
  }

  async #interest(
    session: Session,
    pattern: string,
    start: Start | undefined,
    signal: () => AbortSignal,
  ): Promise<Interest> {
    this.#feed.use();
    const claim = this.#local.claim();
    const interest = {
      get topics() {
        return claim.topics;
      },
      start: undefined,
      release: () => {
        claim.release();
        this.#feed.release();
      },
    };
    try {
      await checkStart(session, start);
      await this.#feed.running(session);
      claim.moveOn();
      if (start === undefined || start === 'latest') return interest;
      this.#replays++;
      const place = new Place(session.created, start);
      const events = replay(this.#readers, this.#feed, claim, { pattern, place, signal });
      return Object.assign(interest, { replay: events });
    } catch (error) {
      interest.release();
      throw error;
    }
  }

  /**
   * A subscriber that must not lose anything reads the stream at its own pace: its events wait there, and
   * what publishers in all processes meet is the bound of the stream.
   */
  async #blockingInterest(
    session: Session,
    pattern: string,
    start: Start | undefined,
    signal: () => AbortSignal,
  ): Promise<Interest> {
    if (this.#host.transient.some((transient) => overlap(transient, pattern))) {
      throw unmet(
        'slow_consumer',
        `BLOCK over NATS is for topics that are kept, and some that ${pattern} matches are transient; subscribe to the others, or take another policy`,
      );
    }
    await checkStart(session, start);
    let from = start;
    if (from === undefined || from === 'latest') {
      const { state } = await session.stream();
      from = { sequence: BigInt(state.last_seq + 1) };
    }
    this.#replays++;
    return {
      topics: this.#link,
      start: undefined,
      replay: follow(this.#readers, { pattern, place: new Place(session.created, from), signal }),
      release: () => {},
    };
  }

  async #queueInterest(
    session: Session,
    pattern: string,
    group: string,
    start: Start | undefined,
  ): Promise<Interest> {
    await checkStart(session, start);
    const topics = `${this.#link}/queue/${group}/${pattern}`;
    const local = this.#host.topics(topics, NOTHING);
    let queue = this.#queues.get(group);
    if (queue === undefined) {
      queue = new QueueGroup(group, this.#decoder, this.#queueCounters);
      this.#queues.set(group, queue);
    }
    const joined = queue;
    const release = () => {
      if (joined.leave(pattern)) return;
      void joined.close();
      if (this.#queues.get(group) === joined) this.#queues.delete(group);
    };
    joined.enter(pattern, local);
    try {
      await joined.running(session, pattern, start);
      return { topics, start: undefined, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  async #publishTransient(
    topic: string,
    data: Uint8Array,
    signal: () => AbortSignal,
  ): Promise<Published> {
    const session = this.#broker.session ?? (await this.#broker.ready(signal));
    if (data.length > session.payloadMost) throw tooLarge(data.length, session.payloadMost);
    const delivered = await this.#feed.publishTransient(session, topic, data);
    return { sequence: 0n, delivered, duplicate: false };
  }

  async #publishDeadLetter(
    event: Event,
    sequence: bigint,
    topic: string,
    group: string,
    attempts: number,
  ): Promise<void> {
    const letter = deadLetterOf(event, sequence, topic, group, attempts);
    const data = toBinary(Event, letter);
    const ever = () => this.#never.signal;
    if (this.#host.isTransient(topic)) {
      await this.#publishTransient(topic, data, ever);
    } else {
      // No message_id of a publisher has a colon here.
      const id = `dead:${group}:${sequence}`;
      await this.#outbox.publish(this.#names.stored(topic), data, id, ever);
    }
  }

  readonly #never = new AbortController();
}
