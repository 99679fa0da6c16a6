// Stands in for the framework and a backplane in the tests of this package.

import type { Context, MessageWriter, StatusError } from 'millrace';
import type {
  BackplaneLink,
  ConsumeOptions,
  Eventually,
  Interest,
  Member,
  Membership,
  Publication,
  Published,
} from './backplane/backplane.js';
import { checkOptions, type PubSubOptions } from './options.js';
import { RequestChecks } from './request-checks.js';

/** A promise and its outcome, which the test decides. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((resolved, rejected) => {
    resolve = resolved;
    reject = rejected;
  });
  return { promise, resolve, reject };
}

/** A writer that keeps what is written; it is full when `room` is used up. */
export class FakeWriter<R> implements MessageWriter<R> {
  readonly written: R[] = [];
  ended = false;
  error: StatusError | undefined;
  room = Number.POSITIVE_INFINITY;
  #writable = deferred<void>();
  /** Called as the framework does, when the call has ended from this side. */
  closed: () => void = () => {};

  write(message: R): boolean {
    this.written.push(message);
    this.room--;
    return this.room > 0;
  }

  writable(): Promise<void> {
    return this.room > 0 ? Promise.resolve() : this.#writable.promise;
  }

  makeRoom(room: number): void {
    this.room = room;
    this.#writable.resolve();
    this.#writable = deferred();
  }

  end(): void {
    this.ended = true;
    this.closed();
  }

  fail(error: unknown): void {
    this.error = error as StatusError;
    this.closed();
  }
}

/** A backplane that does what the test says. */
export class FakeLink implements BackplaneLink {
  readonly published: Publication[] = [];
  /** What the next publications return; after that the next sequence, at once. */
  readonly outcomes: (Eventually<Published> | Error)[] = [];
  /** By topic: what publishers wait for. */
  readonly blocked = new Map<string, Promise<void>>();
  readonly requests: number[] = [];
  readonly owned = new Set<bigint>();
  member: Member | undefined;
  options: ConsumeOptions | undefined;
  left = 0;

  publish(publication: Publication): Eventually<Published> {
    const outcome = this.outcomes.shift();
    if (outcome instanceof Error) throw outcome;
    this.published.push(publication);
    return outcome ?? published(this.published.length);
  }

  writable(topic: string): true | Promise<void> {
    return this.blocked.get(topic) ?? true;
  }

  interest(): Interest {
    return { topics: 'default', start: undefined, release: () => {} };
  }

  consume(options: ConsumeOptions, member: Member): Eventually<Membership> {
    this.member = member;
    this.options = options;
    return {
      request: (count) => this.requests.push(count),
      acknowledge: (sequence) => this.owned.delete(sequence),
      reject: (sequence) => this.owned.delete(sequence),
      leave: () => this.left++,
    };
  }

  stats() {
    return {};
  }

  close(): void {}
}

export function published(sequence: number): Published {
  return { sequence: BigInt(sequence), delivered: 0, duplicate: false };
}

export function checksOf(options: PubSubOptions = {}): RequestChecks {
  return new RequestChecks(checkOptions(options));
}

export interface FakeContext {
  readonly ctx: Context;
  readonly abort: AbortController;
  readonly warnings: object[];
  readonly headersSent: () => boolean;
}

export function fakeContext(): FakeContext {
  const abort = new AbortController();
  const warnings: object[] = [];
  let sent = false;
  const ctx = {
    signal: abort.signal,
    logger: { warn: (fields: object) => warnings.push(fields) },
    sendHeaders: () => {
      sent = true;
    },
  };
  return { ctx: ctx as unknown as Context, abort, warnings, headersSent: () => sent };
}

/** Lets everything run that waits for nothing but promises. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}
