import { encodingNumbers } from '../context/compression.js';
import { MillraceError } from '../errors.js';
import { Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';
import { Outbound } from '../stream/outbound.js';
import type { ClientCall } from './call.js';
import { RequestBuffer } from './request-buffer.js';

/** Who writes on regardless of `false` gets an error at so many times the mark. */
const OVERRUN = 2;

/**
 * The requests that a call streams. Until the call is committed (the server has begun to answer, or
 * the bound of the buffer is reached) they are kept, so that they can be sent again; before it has a
 * connection they wait here. After that they are encoded straight into the arena.
 */
export class RequestStream {
  readonly #call: ClientCall;
  readonly #bufferBytesMax: number;
  #buffer: RequestBuffer | undefined = new RequestBuffer();
  /** Bytes of the buffer that the channel has been charged for. */
  #charged = 0;
  /** One for each attempt under way: more than one only while a call is hedged. */
  #outbounds: Outbound<unknown>[] = [];
  /** What the attempts under way were told: that of the last message. */
  #packs = true;
  #ended = false;
  /** A message is being encoded, whose getters may come back here. */
  #encoding = false;
  #failure: StatusError | undefined;
  #isWritable = true;
  #writable: Promise<void> | undefined;
  #resolve: (() => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  constructor(call: ClientCall, bufferBytesMax: number) {
    this.#call = call;
    this.#bufferBytesMax = bufferBytesMax;
  }

  // --- what the caller calls ---

  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Sends a message; `false`: it was taken, but await `writable()` before the next.
   *
   * @throws EncodeError; StatusError RESOURCE_EXHAUSTED for a message beyond `sendMessageBytes`;
   * MillraceError MILLRACE_WRITE_AFTER_END, MILLRACE_WRITE_OVERRUN, MILLRACE_WRITE_NESTED
   */
  write(message: unknown): boolean {
    if (this.#failure !== undefined) return false;
    if (this.#ended) throw new MillraceError('MILLRACE_WRITE_AFTER_END');
    if (this.#encoding) throw new MillraceError('MILLRACE_WRITE_NESTED');
    this.#encoding = true;
    try {
      return this.#write(message);
    } finally {
      this.#encoding = false;
    }
  }

  #write(message: unknown): boolean {
    if (this.#buffer !== undefined) return this.#writeBuffered(this.#buffer, message);
    const outbound = this.#outbounds[0]!;
    if (!this.#isWritable) this.#checkOverrun(outbound.unsent);
    if (this.#packs !== this.#call.packs) this.#switch(this.#call.packs);
    this.#isWritable = outbound.write(message);
    return this.#isWritable;
  }

  writable(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#admits()) {
      this.#isWritable = true;
      return Promise.resolve();
    }
    this.#writable ??= new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Nobody need have asked for it when the call fails.
    this.#writable.catch(() => {});
    return this.#writable;
  }

  /** Whether a message may be written now. */
  get admits(): boolean {
    return this.#failure === undefined && this.#admits();
  }

  /** No more requests. @throws MillraceError MILLRACE_WRITE_NESTED */
  end(): void {
    if (this.#ended || this.#failure !== undefined) return;
    if (this.#encoding) throw new MillraceError('MILLRACE_WRITE_NESTED');
    this.#ended = true;
    for (const outbound of this.#outbounds) this.#call.engine.sayEnd(outbound.call);
  }

  // --- what the call says ---

  /** An attempt has a connection: it gets everything that is kept. */
  launched(reference: number): void {
    const { engine, method } = this.#call;
    const outbound = new Outbound<unknown>(engine, reference, method.input, undefined);
    this.#outbounds.push(outbound);
    const buffer = this.#buffer;
    // A new attempt begins by compressing.
    this.#packs = true;
    if (buffer !== undefined) {
      for (let index = 0; index < buffer.size; index++) {
        if (buffer.packs(index) !== this.#packs) {
          this.#packs = !this.#packs;
          this.#say(reference);
        }
        this.#isWritable = outbound.sent(engine.sendEncoded(reference, buffer.at(index)));
      }
      if (buffer.byteLength > this.#bufferBytesMax) this.commit();
    }
    if (this.#ended) engine.sayEnd(reference);
    this.resume();
  }

  /** An attempt is over, and another may follow. */
  dropped(reference: number): void {
    this.#outbounds = this.#outbounds.filter((outbound) => {
      if (outbound.call === reference) outbound.close();
      return outbound.call !== reference;
    });
  }

  /** The call will not be made again: nothing is kept any more. */
  commit(): void {
    if (this.#buffer === undefined) return;
    this.#buffer = undefined;
    this.#call.channel.bufferedBytes -= this.#charged;
    this.#charged = 0;
  }

  get committed(): boolean {
    return this.#buffer === undefined;
  }

  /** The engine, or a new connection, has room again. */
  resume(): void {
    for (const outbound of this.#outbounds) if (outbound.isWritable) outbound.resume();
    if (this.#resolve === undefined || !this.#admits()) return;
    // Who was told so may write, even if others fill the connection before he gets to it.
    this.#isWritable = true;
    const resolve = this.#resolve;
    this.#forget();
    resolve();
  }

  /** The call is over: what is written from now on is dropped. */
  fail(error: StatusError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    for (const outbound of this.#outbounds) outbound.close();
    this.commit();
    const reject = this.#reject;
    this.#forget();
    reject?.(error);
  }

  // --- inside ---

  #writeBuffered(buffer: RequestBuffer, message: unknown): boolean {
    const { engine, method, channel } = this.#call;
    if (!this.#isWritable) this.#checkOverrun(this.#unsent());
    const { packs } = this.#call;
    const length = buffer.append(method.input, message, packs);
    // A getter of the message may have ended the call.
    if (this.#failure !== undefined) return false;
    if (length > channel.sendMessageBytes) {
      buffer.pop();
      throw new StatusError(
        Status.RESOURCE_EXHAUSTED,
        `the message has ${length} bytes, more than the limit of ${channel.sendMessageBytes} bytes`,
      );
    }
    this.#charged += length;
    channel.bufferedBytes += length;
    const outbounds = this.#outbounds;
    if (outbounds.length > 0) {
      if (packs !== this.#packs) this.#switch(packs);
      const bytes = buffer.at(buffer.size - 1);
      for (const outbound of outbounds) {
        outbound.sent(engine.sendEncoded(outbound.call, bytes));
      }
      if (this.#charged > this.#bufferBytesMax || channel.bufferIsFull) {
        if (outbounds.length > 1) this.#call.choose(outbounds[0]!.call);
        this.commit();
      }
    }
    this.#isWritable = this.#admits();
    return this.#isWritable;
  }

  /** The next message is compressed, or not, other than the last. */
  #switch(packs: boolean): void {
    this.#packs = packs;
    for (const outbound of this.#outbounds) this.#say(outbound.call);
  }

  #say(reference: number): void {
    const { engine, encoding } = this.#call;
    engine.sayCompression(reference, encodingNumbers[encoding], this.#packs);
  }

  #unsent(): number {
    return this.#outbounds.length === 0
      ? this.#charged
      : Math.max(...this.#outbounds.map((outbound) => outbound.unsent));
  }

  #admits(): boolean {
    if (this.#outbounds.length === 0) {
      const { channel } = this.#call;
      return this.#charged < channel.unsentBytesMark && !channel.bufferIsFull;
    }
    return this.#outbounds.every((outbound) => outbound.isWritable);
  }

  #checkOverrun(unsent: number): void {
    if (unsent >= OVERRUN * this.#call.channel.unsentBytesMark) {
      throw new MillraceError('MILLRACE_WRITE_OVERRUN');
    }
  }

  #forget(): void {
    this.#writable = undefined;
    this.#resolve = undefined;
    this.#reject = undefined;
  }
}

/**
 * Writes what an iterable yields, no faster than the server takes it; ends when it ends. When it
 * throws, the call is cancelled and fails with that error.
 */
export async function pump(
  requests: AsyncIterable<unknown> | Iterable<unknown>,
  stream: RequestStream,
  call: ClientCall,
): Promise<void> {
  try {
    const iterator =
      Symbol.asyncIterator in requests
        ? requests[Symbol.asyncIterator]()
        : requests[Symbol.iterator]();
    let finished = false;
    try {
      while (!call.ended) {
        const result = await iterator.next();
        if (result.done === true) {
          finished = true;
          break;
        }
        if (call.ended) break;
        // Others may have filled the connection since the last one.
        while (!stream.admits) await stream.writable();
        if (!stream.write(result.value)) await stream.writable();
      }
    } finally {
      if (!finished) await iterator.return?.();
    }
    stream.end();
  } catch (error) {
    // The call may have ended by itself: then this is its own error, or too late.
    call.abandon(error);
  }
}
