import type { CallbackCall, Context, MessageWriter, StatusError } from 'millrace';
import type { Member, Membership } from './backplane/backplane.js';
import type { Consuming } from './consuming.js';
import type {
  ConsumeRequest,
  Event,
  EventInit,
  SubscribeRequest,
} from './gen/millrace/pubsub/v1/pubsub.js';
import { exhausted, illegal, unmet } from './refusals.js';

/** Bytes of events that are asked for at a time, beyond one event. */
const DEMAND_BYTES = 64 * 1024;
/** Events that are asked for at a time. */
const DEMAND_MOST = 64;
/** Every so many unknown acknowledgements of one consumer there is a line in the log, after the first. */
const UNKNOWN_LOGGED_EACH = 1000;

/**
 * One call of Consume: a member of a durable group. Its credit and what its peer has read are turned
 * into demand, so that events wait in the backplane and not here.
 */
export class ConsumeStream implements CallbackCall<ConsumeRequest>, Member {
  readonly #consuming: Consuming;
  readonly #ctx: Context;
  readonly #writer: MessageWriter<EventInit>;
  #group = '';
  #membership: Membership | undefined;
  #opened = false;
  #closed = false;
  /** What the peer takes and was not asked of the backplane yet. */
  #credit = 0;
  /** Asked of the backplane and not delivered. */
  #requested = 0;
  /** Delivered while the peer had too much to read. */
  readonly #held: EventInit[] = [];
  #waiting = false;
  /** What is asked for at a time: fewer when events are large. */
  #step = 1;
  #unknown = 0;

  constructor(consuming: Consuming, ctx: Context, writer: MessageWriter<EventInit>) {
    this.#consuming = consuming;
    this.#ctx = ctx;
    this.#writer = writer;
  }

  // --- what the peer says ---

  message({ kind }: ConsumeRequest): void | Promise<void> {
    if (this.#closed) return;
    if (kind === undefined) {
      throw illegal('kind', 'the message says nothing; send open, ack, nack or credit');
    }
    if (kind.case === 'open') {
      if (!this.#opened) return this.#open(kind.value);
      throw unmet('open', 'this stream is open already; open another stream');
    }
    const membership = this.#membership;
    if (membership === undefined) {
      throw unmet(kind.case, 'the first message has to be open');
    }
    switch (kind.case) {
      case 'ack':
        if (membership.acknowledge(kind.value)) this.#consuming.acknowledged();
        else this.#complain('ack', kind.value);
        return;
      case 'nack':
        if (membership.reject(kind.value)) this.#consuming.rejected();
        else this.#complain('nack', kind.value);
        return;
      case 'credit':
        this.#add(kind.value);
    }
  }

  end(): void {
    // Nothing can be acknowledged any more.
    this.#leave();
    this.#writer.end();
  }

  closed(): void {
    this.#leave();
    this.#consuming.closed(this);
  }

  /** Ends the call from this side. */
  stop(error: unknown): void {
    if (this.#closed) return;
    this.#leave();
    this.#writer.fail(error);
  }

  // --- what the backplane says ---

  deliver(event: EventInit | Event, sequence: bigint, attempt: number): void {
    if (this.#closed) return;
    this.#requested--;
    this.#consuming.delivered(attempt);
    const bytes = event.payload?.length ?? 0;
    this.#step = Math.max(1, Math.min(DEMAND_MOST, Math.floor(DEMAND_BYTES / (bytes + 1))));
    const delivery = { ...event, sequence, dropped: 0n, deliveryAttempt: attempt };
    if (this.#waiting) this.#held.push(delivery);
    else this.#write(delivery);
    this.#demand();
  }

  failed(error: StatusError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#membership = undefined;
    this.#writer.fail(error);
  }

  async #open(request: SubscribeRequest): Promise<void> {
    this.#opened = true;
    const { credit, ...options } = this.#consuming.check(request);
    const membership = await this.#consuming.link.consume(options, this, () => this.#ctx.signal);
    if (this.#closed) {
      membership.leave();
      return;
    }
    this.#group = options.group;
    this.#membership = membership;
    this.#ctx.sendHeaders();
    this.#consuming.joined();
    this.#add(credit);
  }

  #add(credit: number): void {
    const { creditMost } = this.#consuming;
    const unused = this.#credit + this.#requested + credit;
    if (unused > creditMost) {
      throw exhausted(
        'credit',
        `${unused} events would be asked for and not delivered, more than ${creditMost}; give credit as events are done with, or raise limits.credit`,
      );
    }
    this.#credit += credit;
    this.#demand();
  }

  /** Asks for as much as the peer takes, a step at a time. */
  #demand(): void {
    if (this.#waiting || this.#requested > this.#step / 2) return;
    const count = Math.min(this.#credit, this.#step - this.#requested);
    if (count <= 0) return;
    this.#credit -= count;
    this.#requested += count;
    this.#membership?.request(count);
  }

  #write(delivery: EventInit): void {
    if (this.#writer.write(delivery)) return;
    this.#waiting = true;
    this.#writer.writable().then(
      () => this.#resume(),
      () => {}, // The call is over, and closed() has been called.
    );
  }

  #resume(): void {
    this.#waiting = false;
    while (!this.#closed && !this.#waiting && this.#held.length > 0) {
      this.#write(this.#held.shift()!);
    }
    if (!this.#closed) this.#demand();
  }

  /** It may be late, of another consumer, or made up; the stream stays, and the event is not touched. */
  #complain(kind: 'ack' | 'nack', sequence: bigint): void {
    this.#consuming.unknown();
    if (this.#unknown++ % UNKNOWN_LOGGED_EACH !== 0) return;
    this.#ctx.logger.warn(
      {
        event: 'unknown_acknowledgement',
        status: 'INVALID_ARGUMENT',
        field: kind,
        sequence,
        group: this.#group,
        count: this.#unknown,
      },
      `${kind}: the event is not this consumer's, or no longer; acknowledge within ack_wait, once, on the stream that delivered it`,
    );
  }

  #leave(): void {
    this.#closed = true;
    this.#held.length = 0;
    const membership = this.#membership;
    this.#membership = undefined;
    membership?.leave();
  }
}
