import { AsyncResource } from 'node:async_hooks';
import type { Logger } from 'pino';
import { MillraceError } from '../errors.js';
import type { StatusError } from '../status/status-error.js';
import type { InboundSink } from '../stream/inbound.js';
import type { Outbound } from '../stream/outbound.js';
import type { CallPort } from '../stream/port.js';
import { Compression, type CompressionHost, type Encoding } from './compression.js';
import type { Context, MethodInfo } from './context.js';
import type { Deadline } from './deadline.js';
import { Metadata, type MetadataInit } from './metadata.js';
import { CallPeer, type Peer, type PeerPort } from './peer.js';
import type { Pressure } from './pressure.js';

/** What a context needs of the engine beneath it. */
export interface ContextPort extends CallPort, PeerPort {
  metadata(call: number): Metadata | undefined;
  sendHeaders(call: number, metadata: Metadata | undefined): void;
  sayCompression(call: number, encoding: number, enabled: boolean): void;
}

/** What all calls of a server thread share. */
export interface CallEnvironment {
  readonly port: ContextPort;
  readonly logger: Logger;
  /** Of replies, unless their handler says otherwise. */
  readonly replyEncoding: Encoding;
  /** After `close()`: no slot, table entry or reference of a call means anything any more. */
  readonly closed: boolean;
}

const resourceOptions = { requireManualDestroy: true };
const processPrefix = Math.random().toString(36).slice(2, 8);
let requestCount = 0;

/**
 * A call: the Context that its handler sees, and what the dispatcher keeps of it. One object per
 * call, with everything else made on demand.
 *
 * It is an AsyncResource, so that each handler runs in an async context of its own:
 * `AsyncLocalStorage.enterWith` in one handler would reach the other calls of its batch otherwise.
 */
export class CallContext<Method extends MethodInfo = MethodInfo>
  extends AsyncResource
  implements Context, CompressionHost
{
  readonly method: Method;
  /** Index and generation: the name of this call for the engine. */
  readonly reference: number;
  readonly deadlineGiven: Deadline | undefined;
  readonly #environment: CallEnvironment;
  readonly #hasMetadata: boolean;
  inbound: InboundSink | undefined;
  outbound: Outbound<unknown> | undefined;
  /** Why the call is cancelled, from then on. */
  cancelled: StatusError | undefined;
  /** When it was cancelled (performance.now), for the handler's grace. */
  cancelledAt = 0;
  /** The final operation has been pushed: nothing may follow. */
  ended = false;
  headersSent = false;
  /** The request came compressed; of a request stream, its messages may be. */
  requestCompressed = false;
  /** Called once when the call is cancelled, behind signal and streams. */
  onCancel: ((error: StatusError) => void) | undefined;
  /** Called when the reply stream is writable again, besides what waits for it. */
  onWritable: (() => void) | undefined;
  #abort: AbortController | undefined;
  #metadata: Metadata | undefined;
  #peer: Peer | undefined;
  #trailers: Metadata | undefined;
  #logger: Logger | undefined;
  #requestId: string | undefined;
  #compression: Compression | undefined;

  constructor(
    environment: CallEnvironment,
    method: Method,
    reference: number,
    hasMetadata: boolean,
    deadlineGiven: Deadline | undefined,
  ) {
    super('MILLRACE_CALL', resourceOptions);
    this.#environment = environment;
    this.method = method;
    this.reference = reference;
    this.deadlineGiven = deadlineGiven;
    this.#hasMetadata = hasMetadata;
    this.inbound = undefined;
    this.outbound = undefined;
    this.cancelled = undefined;
    this.onCancel = undefined;
    this.onWritable = undefined;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.cancelled !== undefined) this.#abort.abort(this.cancelled);
    }
    return this.#abort.signal;
  }

  get deadline(): Date | undefined {
    const { deadlineGiven } = this;
    return deadlineGiven === undefined ? undefined : new Date(deadlineGiven.at);
  }

  get metadata(): Metadata {
    if (this.#metadata === undefined) {
      // Of its own, also when empty: interceptors may add to it.
      if (!this.#hasMetadata) {
        this.#metadata = new Metadata();
        return this.#metadata;
      }
      const metadata = this.#environment.closed
        ? undefined
        : this.#environment.port.metadata(this.reference);
      if (metadata === undefined) throw new MillraceError('MILLRACE_METADATA_GONE');
      this.#metadata = metadata;
    }
    return this.#metadata;
  }

  get peer(): Peer {
    const environment = this.#environment;
    this.#peer ??= new CallPeer(
      () => (environment.closed ? undefined : environment.port),
      this.reference,
    );
    return this.#peer;
  }

  get requestId(): string {
    this.#requestId ??= `${processPrefix}-${(++requestCount).toString(36)}`;
    return this.#requestId;
  }

  get logger(): Logger {
    this.#logger ??= this.#environment.logger.child({
      method: this.method.path,
      requestId: this.requestId,
    });
    return this.#logger;
  }

  get pressure(): Pressure {
    const { closed, port } = this.#environment;
    return {
      level: closed ? 'open' : port.level,
      waitingMessages: this.inbound?.waiting ?? 0,
      unsentBytes: closed ? 0 : (this.outbound?.pressure ?? 0),
      outboundFull: !closed && port.outboundFull,
    };
  }

  get compression(): Compression {
    this.#compression ??= new Compression(this, this.#environment.replyEncoding);
    return this.#compression;
  }

  get messageCompressed(): boolean {
    return this.method.kind === 'unary' || this.method.kind === 'server-streaming'
      ? this.requestCompressed
      : (this.inbound?.compressed ?? false);
  }

  setCompression(encoding: number, enabled: boolean): void {
    if (this.ended || this.cancelled !== undefined) return;
    this.#environment.port.sayCompression(this.reference, encoding, enabled);
  }

  get trailers(): Metadata {
    this.#trailers ??= new Metadata();
    return this.#trailers;
  }

  /** `undefined` as long as nobody has asked for them. */
  get trailersGiven(): Metadata | undefined {
    return this.#trailers;
  }

  sendHeaders(metadata?: MetadataInit): void {
    if (this.headersSent) throw new MillraceError('MILLRACE_HEADERS_SENT');
    if (this.cancelled !== undefined) throw this.cancelled;
    if (this.ended) throw new MillraceError('MILLRACE_HEADERS_SENT', 'the call is over');
    const checked = metadata === undefined ? undefined : Metadata.from(metadata);
    this.headersSent = true;
    this.#environment.port.sendHeaders(this.reference, checked);
  }

  /**
   * Cancels: the signal aborts first, then pulls and writes reject, then the handler's generator is
   * asked to return.
   */
  cancel(error: StatusError): void {
    this.cancelled = error;
    this.cancelledAt = performance.now();
    this.#abort?.abort(error);
    this.inbound?.fail(error);
    this.outbound?.fail(error);
    this.onCancel?.(error);
  }
}
