// Publications on their way: in order, until JetStream has answered.

import type { Msg, Subscription } from '@nats-io/transport-node';
import { Status, type StatusError } from 'millrace';
import { exhausted, notNow } from '../../refusals.js';
import type { Broker, Follower } from './broker.js';
import { ApiCode, type Session } from './session.js';

/** What may be under way; beyond it publishers wait before they publish. */
const UNDER_WAY_MOST = 65_536;
const BYTES_UNDER_WAY_MOST = 64 * 2 ** 20;
/** A server that is connected and does not answer for so long is given up. */
const ANSWER_MS = 5000;
const CHECK_EVERY_MS = 250;
const RETRY_AFTER_MS = 1000;
/** `NATS/1.0\r\nNats-Msg-Id: …\r\n\r\n` */
const HEADER_BYTES = 27;

/** What JetStream says of a publication. */
export interface PubAck {
  readonly sequence: number;
  readonly duplicate: boolean;
}

interface Outgoing {
  readonly subject: string;
  readonly data: Uint8Array;
  /** For Nats-Msg-Id; empty: none. */
  readonly id: string;
  readonly signal: () => AbortSignal;
  readonly began: number;
  sentAt: number;
  /** Once: from then on it may be stored. */
  firstSentAt: number;
  settled: boolean;
  resolve(ack: PubAck): void;
  reject(error: StatusError): void;
  /** The call whose end ends it, while it waits for a session. */
  waiting: AbortSignal | undefined;
}

/** What waits for a session in one call, which may be thousands of publications. */
interface WaitingCall {
  readonly outgoing: Set<Outgoing>;
  readonly over: () => void;
}

/**
 * What is written to a connection arrives in order or, from some point on, not at all. After a loss it is
 * unknown of what was not answered whether it was stored. With a message id it is sent again, for JetStream
 * knows it then; without one the publisher is told so.
 */
export class Outbox implements Follower {
  readonly #broker: Broker;
  readonly #waitMs: number;
  readonly #duplicateWindowMs: number;
  /** Sent and unanswered, by token, in the order in which they were sent. */
  readonly #sent = new Map<number, Outgoing>();
  /** Not sent, in order. */
  #unsent: Outgoing[] = [];
  readonly #calls = new Map<AbortSignal, WaitingCall>();
  #bytes = 0;
  /** Publications without an outcome; of the unsent some may have had theirs. */
  #underWay = 0;
  #token = 0;
  #inbox = '';
  #session: Session | undefined;
  #subscription: Subscription | undefined;
  readonly #timer: NodeJS.Timeout;
  #room: { readonly promise: Promise<void>; readonly open: () => void } | undefined;
  resent = 0;
  refused = 0;
  unknown = 0;

  constructor(broker: Broker, waitMs: number, duplicateWindowMs: number) {
    this.#broker = broker;
    this.#waitMs = waitMs;
    this.#duplicateWindowMs = duplicateWindowMs;
    this.#timer = setInterval(() => this.#check(), CHECK_EVERY_MS);
    this.#timer.unref();
  }

  get underWay(): number {
    return this.#underWay;
  }

  get #hasRoom(): boolean {
    return this.#underWay < UNDER_WAY_MOST && this.#bytes < BYTES_UNDER_WAY_MOST;
  }

  /** `true`, or a promise that settles when there is room for another publication. */
  writable(): true | Promise<void> {
    if (this.#hasRoom) return true;
    if (this.#room === undefined) {
      let open = () => {};
      const promise = new Promise<void>((resolve) => {
        open = resolve;
      });
      this.#room = { promise, open };
    }
    return this.#room.promise;
  }

  publish(
    subject: string,
    data: Uint8Array,
    id: string,
    signal: () => AbortSignal,
  ): Promise<PubAck> {
    return new Promise((resolve, reject) => {
      const outgoing: Outgoing = {
        subject,
        data,
        id,
        signal,
        began: performance.now(),
        sentAt: 0,
        firstSentAt: 0,
        settled: false,
        resolve,
        reject,
        waiting: undefined,
      };
      this.#bytes += data.length;
      this.#underWay++;
      if (this.#session === undefined || this.#unsent.length > 0) this.#queue(outgoing);
      else this.#send(this.#session, outgoing);
    });
  }

  begin(session: Session): void {
    this.#session = session;
    this.#inbox = session.client.createInbox();
    this.#subscription = session.subscribe(`${this.#inbox}.*`, (message) => {
      this.#answer(session, message);
    });
    const unsent = this.#unsent;
    this.#unsent = [];
    const now = performance.now();
    for (const outgoing of unsent) {
      if (outgoing.settled) continue;
      if (this.#mayBeForgotten(outgoing, now)) {
        this.#reject(outgoing, this.#broker.unavailable());
        continue;
      }
      if (outgoing.sentAt > 0) this.resent++;
      this.#send(session, outgoing);
    }
  }

  end(): void {
    this.#session = undefined;
    this.#subscription?.unsubscribe();
    const inDoubt = [...this.#sent.values()];
    this.#sent.clear();
    const again: Outgoing[] = [];
    for (const outgoing of inDoubt) {
      if (outgoing.id !== '') {
        again.push(outgoing);
        continue;
      }
      this.unknown++;
      this.#reject(
        outgoing,
        notNow(
          Status.UNAVAILABLE,
          'the connection to NATS was lost before it answered, so that it is unknown whether the event was published; with a message_id it would be published once whatever happens',
          RETRY_AFTER_MS,
        ),
      );
    }
    this.#unsent = [...again, ...this.#unsent];
    for (const outgoing of again) this.#wait(outgoing);
  }

  close(): void {
    clearInterval(this.#timer);
    for (const outgoing of [...this.#sent.values(), ...this.#unsent]) {
      this.#reject(outgoing, this.#broker.unavailable());
    }
    this.#sent.clear();
    this.#unsent = [];
  }

  #send(session: Session, outgoing: Outgoing): void {
    this.#stopWaiting(outgoing);
    const { subject, data, id } = outgoing;
    const size = data.length + (id === '' ? 0 : HEADER_BYTES + id.length);
    if (size > session.payloadMost) {
      this.#reject(outgoing, tooLarge(size, session.payloadMost));
      return;
    }
    const token = ++this.#token;
    this.#sent.set(token, outgoing);
    outgoing.sentAt = performance.now();
    outgoing.firstSentAt ||= outgoing.sentAt;
    const reply = `${this.#inbox}.${token}`;
    if (id === '') {
      session.publish(subject, data, { reply });
      return;
    }
    const headers = session.client.headers();
    headers.set('Nats-Msg-Id', id);
    session.publish(subject, data, { reply, headers });
  }

  #answer(session: Session, message: Msg): void {
    const token = Number(message.subject.slice(this.#inbox.length + 1));
    const outgoing = this.#sent.get(token);
    if (outgoing === undefined) return;
    if (message.headers?.code === 503) {
      // Nobody takes the subject: JetStream is not up (again), or the stream is gone. The next session
      // sees which, and creates the stream if need be.
      session.fail('JetStream does not take publications at the moment');
      return;
    }
    // What is no answer ends the session, and that the publication.
    const { seq, duplicate, error } = message.json<Answer>();
    this.#sent.delete(token);
    if (error === undefined && seq !== undefined) {
      this.#settle(outgoing);
      outgoing.resolve({ sequence: seq, duplicate: duplicate === true });
      return;
    }
    this.#reject(outgoing, this.#refusal(error));
  }

  #refusal(error: ApiError | undefined): StatusError {
    const description = error?.description ?? 'an answer without a sequence';
    switch (error?.err_code) {
      case ApiCode.STORE_FAILED:
      case ApiCode.INSUFFICIENT_RESOURCES:
      case ApiCode.RESOURCE_LIMITS_EXCEEDED:
      case ApiCode.STORAGE_RESOURCES_EXCEEDED:
        this.refused++;
        return notNow(
          Status.RESOURCE_EXHAUSTED,
          `NATS keeps no more events of this space: ${description}; publish again when older ones have aged, or raise the limits of the stream`,
          RETRY_AFTER_MS,
        );
      case ApiCode.MESSAGE_TOO_LARGE:
        return exhausted('payload', `${description}; raise max_msg_size of the stream`);
      default:
        return notNow(
          Status.UNAVAILABLE,
          `NATS did not take the event: ${description}`,
          RETRY_AFTER_MS,
        );
    }
  }

  #queue(outgoing: Outgoing): void {
    this.#unsent.push(outgoing);
    this.#wait(outgoing);
  }

  /** From now on the end of its call ends the publication. */
  #wait(outgoing: Outgoing): void {
    const call = outgoing.signal();
    if (call.aborted) {
      this.#reject(outgoing, this.#broker.unavailable());
      return;
    }
    let waiting = this.#calls.get(call);
    if (waiting === undefined) {
      const together = new Set<Outgoing>();
      const over = () => {
        for (const each of together) this.#reject(each, this.#broker.unavailable());
      };
      waiting = { outgoing: together, over };
      this.#calls.set(call, waiting);
      call.addEventListener('abort', over);
    }
    waiting.outgoing.add(outgoing);
    outgoing.waiting = call;
  }

  #stopWaiting(outgoing: Outgoing): void {
    const call = outgoing.waiting;
    if (call === undefined) return;
    outgoing.waiting = undefined;
    const waiting = this.#calls.get(call)!;
    waiting.outgoing.delete(outgoing);
    if (waiting.outgoing.size > 0) return;
    call.removeEventListener('abort', waiting.over);
    this.#calls.delete(call);
  }

  #check(): void {
    const now = performance.now();
    const session = this.#session;
    if (session !== undefined) {
      const oldest = this.#sent.values().next().value;
      if (oldest !== undefined && now - oldest.sentAt > ANSWER_MS) {
        session.fail(`a publication was not answered for ${ANSWER_MS / 1000} s`);
      }
      return;
    }
    for (const outgoing of this.#unsent) {
      const since = outgoing.sentAt || outgoing.began;
      if (now - since >= this.#waitMs || this.#mayBeForgotten(outgoing, now)) {
        this.#reject(outgoing, this.#broker.unavailable());
      }
    }
    this.#unsent = this.#unsent.filter(({ settled }) => !settled);
  }

  /** Half of the window: what JetStream has forgotten would be stored a second time. */
  #mayBeForgotten({ firstSentAt }: Outgoing, now: number): boolean {
    return firstSentAt > 0 && now - firstSentAt >= this.#duplicateWindowMs / 2;
  }

  #reject(outgoing: Outgoing, error: StatusError): void {
    if (outgoing.settled) return;
    this.#settle(outgoing);
    outgoing.reject(error);
  }

  #settle(outgoing: Outgoing): void {
    if (outgoing.settled) return;
    outgoing.settled = true;
    this.#stopWaiting(outgoing);
    this.#bytes -= outgoing.data.length;
    this.#underWay--;
    const room = this.#room;
    if (room !== undefined && this.#hasRoom) {
      this.#room = undefined;
      room.open();
    }
  }
}

/** An event that nats-server does not take. */
export function tooLarge(size: number, most: number): StatusError {
  return exhausted(
    'payload',
    `the event has ${size} bytes with its topic and attributes, and nats-server takes ${most}; split it, or raise max_payload of nats-server`,
  );
}

interface ApiError {
  readonly code?: number;
  readonly err_code?: number;
  readonly description?: string;
}

interface Answer {
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: ApiError;
}
