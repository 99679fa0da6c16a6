import type { MessageType } from '../codec/message-type.js';
import type { StatusError } from '../status/status-error.js';
import type { CallPort, Watched } from './port.js';
import type { Waits } from './waits.js';

/** What the engine shows as unsent where a stream has to wait whatever its own bytes are. */
const BEYOND_ANY_MARK = 0x7fffffff;

/** The reply stream of a call: counts what is unsent, so that a slow peer slows its handler. */
export class Outbound<R> implements Watched {
  readonly #port: CallPort;
  readonly call: number;
  readonly #index: number;
  readonly #type: MessageType<unknown, R>;
  readonly #waits: Waits | undefined;
  /** Bytes written since the drain of `#epoch`; the engine's `pending` has what came before. */
  #written = 0;
  #epoch = -1;
  #failure: StatusError | undefined;
  #writable: Promise<void> | undefined;
  #resolve: (() => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  constructor(
    port: CallPort,
    call: number,
    type: MessageType<unknown, R>,
    waits: Waits | undefined,
  ) {
    this.#port = port;
    this.call = call;
    this.#index = call & 0xffff;
    this.#type = type;
    this.#waits = waits;
  }

  /** Bytes that the peer has not taken. */
  get unsent(): number {
    const port = this.#port;
    const pending = port.pending[this.#index]!;
    return this.#epoch === port.epoch ? pending + this.#written : pending;
  }

  /** The same for people: the mark where the stream waits because its connection is full. */
  get pressure(): number {
    const { unsent } = this;
    return unsent >= BEYOND_ANY_MARK ? this.#port.streamMark : unsent;
  }

  get isWritable(): boolean {
    const port = this.#port;
    const { unsent } = this;
    if (!port.outboundFull) return unsent < port.streamMark;
    // The engine shows one less than the mark where a single message may follow.
    return unsent === 0 || unsent === port.streamMark - 1;
  }

  /**
   * The engine has shown since the last write that the stream has to wait: others have filled the
   * connection meanwhile.
   */
  get isHeldUp(): boolean {
    const port = this.#port;
    return port.pending[this.#index]! >= port.streamMark;
  }

  /** Writes one message; whether another may follow at once. @throws as `CallPort.sendMessage` */
  write(message: R): boolean {
    return this.sent(this.#port.sendMessage(this.call, this.#type, message));
  }

  /** Counts bytes that were put into the arena; whether more may follow at once. */
  sent(bytes: number): boolean {
    const port = this.#port;
    // Read only now: encoding may have drained the queue.
    const { epoch } = port;
    const written = this.#epoch === epoch ? this.#written + bytes : bytes;
    this.#epoch = epoch;
    this.#written = written;
    const unsent = port.pending[this.#index]! + written;
    if (unsent < port.streamMark && (!port.outboundFull || unsent === 0)) return true;
    port.watch(this);
    return false;
  }

  /** Resolves when another message may be written; rejects when the call is cancelled. */
  writable(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.isWritable) return Promise.resolve();
    if (this.#writable === undefined) {
      this.#writable = new Promise((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
      });
      // A handler need not have asked for it when the call is cancelled.
      this.#writable.catch(() => {});
      this.#port.watch(this);
      this.#waits?.peerBegin();
    }
    return this.#writable;
  }

  /** The engine says that the call is writable again. */
  resume(): void {
    this.#port.unwatch(this);
    this.#settle(this.#resolve);
  }

  fail(error: StatusError): void {
    this.#failure = error;
    this.#port.unwatch(this);
    const reject = this.#reject;
    this.#settle(reject === undefined ? undefined : () => reject(error));
  }

  /** The call has ended regularly. */
  close(): void {
    this.#port.unwatch(this);
  }

  #settle(settle: (() => void) | undefined): void {
    if (settle === undefined) return;
    this.#writable = undefined;
    this.#resolve = undefined;
    this.#reject = undefined;
    this.#waits?.peerEnd();
    settle();
  }
}
