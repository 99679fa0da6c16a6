import { STATUS_HEADERS_SEEN, STATUS_NEVER_SENT } from '../bridge/layout.js';
import { Status } from '../status/status.js';
import type { ClientCall, Ended } from './call.js';
import type { Launchable } from './channel.js';
import { pushbackMs } from './retry.js';
import type { HedgingPolicy } from './service-config.js';
import { type AttemptSink, NO_CALL } from './thread.js';

/**
 * Attempts of one call that run at the same time: another one each time the delay has passed, or at
 * once when one fails with a status that is not fatal. The first that is answered is the call's; the
 * others are cancelled.
 *
 * Source: gRFC A6, "Hedging Policy"
 */
export class Hedge {
  readonly call: ClientCall;
  readonly #policy: HedgingPolicy;
  readonly #running = new Set<HedgedAttempt>();
  #begun = 0;
  #timer: NodeJS.Timeout | undefined;
  #decided = false;
  /** One attempt was made again after the server had seen it: no more of that, whichever it is. */
  retriedTransparently = false;

  constructor(call: ClientCall, policy: HedgingPolicy) {
    this.call = call;
    this.#policy = policy;
  }

  begin(): void {
    const { hedgingDelay, maxAttempts } = this.#policy;
    const attempt = new HedgedAttempt(this, this.#begun++);
    this.#running.add(attempt);
    this.call.channel.submit(attempt);
    if (this.#begun < maxAttempts && !this.#decided) this.#later(hedgingDelay);
  }

  #later(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#mayBegin()) this.begin();
    }, delayMs);
  }

  #mayBegin(): boolean {
    const { channel, committed } = this.call;
    return (
      !this.#decided &&
      !committed &&
      this.#begun < this.#policy.maxAttempts &&
      channel.throttle?.allows !== false
    );
  }

  /** This attempt is the call's: the server has begun to answer it, or it was chosen. */
  won(attempt: HedgedAttempt): void {
    this.#decide();
    this.#running.delete(attempt);
    for (const other of this.#running) other.cancel();
    this.call.won(attempt.reference);
  }

  /** This attempt is to be the only one. */
  choose(reference: number): void {
    for (const attempt of this.#running) {
      if (attempt.reference !== reference) continue;
      this.won(attempt);
      return;
    }
  }

  /** An attempt has no connection; it ends the call if it is the last. */
  unavailable(attempt: HedgedAttempt, message: string): void {
    this.#running.delete(attempt);
    if (this.#running.size === 0) this.call.unavailable(message);
  }

  /** An attempt does not begin: what was written before would be missing in it. */
  skip(attempt: HedgedAttempt): void {
    this.#running.delete(attempt);
  }

  /** An attempt has failed. */
  lost(attempt: HedgedAttempt, end: Ended): void {
    if (this.#decided) {
      attempt.release();
      return;
    }
    const { channel } = this.call;
    const asked = pushbackMs(end.trailers?.get('grpc-retry-pushback-ms'));
    // A call that is committed stays with the attempt that it is committed to; response headers
    // commit it, also where they said nothing.
    const fatal =
      this.call.committed ||
      (end.bits & STATUS_HEADERS_SEEN) !== 0 ||
      (this.#policy.nonFatalStatusCodes & (1 << end.code)) === 0;
    if (!fatal || asked === 'never') channel.throttle?.failed();
    this.#running.delete(attempt);
    const more = !fatal && asked !== 'never' && this.#mayBegin();
    if (!fatal && (more || this.#running.size > 0)) {
      attempt.release();
      if (asked === 'never') clearTimeout(this.#timer);
      else if (more && asked !== undefined) this.#later(asked);
      else if (more) this.begin();
      return;
    }
    this.#decide();
    for (const other of this.#running) other.cancel();
    this.call.won(attempt.reference);
    this.call.conclude(end);
  }

  /** The caller has given up. */
  cancel(): void {
    this.#decide();
    for (const attempt of this.#running) attempt.cancel();
  }

  get decided(): boolean {
    return this.#decided;
  }

  #decide(): void {
    this.#decided = true;
    clearTimeout(this.#timer);
  }
}

class HedgedAttempt implements AttemptSink, Launchable {
  readonly #hedge: Hedge;
  readonly #number: number;
  reference = NO_CALL;

  constructor(hedge: Hedge, number: number) {
    this.#hedge = hedge;
    this.#number = number;
  }

  get waitForReady(): boolean {
    return this.#hedge.call.waitForReady;
  }

  get over(): boolean {
    return this.#hedge.decided;
  }

  waiting(): void {
    this.#hedge.call.waiting();
  }

  launch(connection: number): void {
    if (this.#hedge.call.committed) {
      this.#hedge.skip(this);
      return;
    }
    this.reference = this.#hedge.call.launchAttempt(this, connection, this.#number);
  }

  unavailable(message: string): void {
    this.#hedge.unavailable(this, message);
  }

  response(flags: number): void {
    if (!this.#win()) return;
    this.#hedge.call.response(flags);
  }

  message(slot: number): void {
    if (this.#win()) this.#hedge.call.message(slot);
  }

  reply(flags: number, slot: number, bits: number): void {
    if (this.#win()) this.#hedge.call.reply(flags, slot, bits);
    else this.release();
  }

  status(code: number, bits: number): void {
    if (code === Status.OK) {
      if (this.#win()) this.#hedge.call.status(code, bits);
      else this.release();
      return;
    }
    if (this.#again(code, bits)) return;
    this.#hedge.lost(this, this.#hedge.call.endOf(this.reference, code, bits));
  }

  /** The transparent retry of gRFC A6, which is no attempt of the policy's. */
  #again(code: number, bits: number): boolean {
    const { call, decided } = this.#hedge;
    if (decided || code !== Status.UNAVAILABLE || !call.unseen(bits)) return false;
    if ((bits & STATUS_NEVER_SENT) === 0) {
      if (this.#hedge.retriedTransparently) return false;
      this.#hedge.retriedTransparently = true;
    }
    this.release();
    call.channel.submit(this);
    return true;
  }

  resume(): void {
    this.#hedge.call.requests?.resume();
  }

  #win(): boolean {
    if (this.#hedge.decided) return false;
    this.#hedge.won(this);
    return true;
  }

  cancel(): void {
    if (this.reference === NO_CALL) return;
    this.#hedge.call.engine.sayCancel(this.reference, Status.CANCELLED);
    this.#hedge.call.requests?.dropped(this.reference);
  }

  release(): void {
    const { call } = this.#hedge;
    const { reference } = this;
    if (reference === NO_CALL) return;
    this.reference = NO_CALL;
    call.channel.thread.end(reference);
    call.channel.callOver();
    call.requests?.dropped(reference);
  }
}
