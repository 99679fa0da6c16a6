import type { MessageType } from '../codec/message-type.js';
import { Metadata, type MetadataInit } from '../context/metadata.js';
import { findDetail, type StatusDetail } from './details.js';
import { isStatus, Status, statusName } from './status.js';

/**
 * The mark of a StatusError. A registered symbol, because two copies of this package may be loaded
 * in one process (`instanceof` would fail between them).
 */
const brand = Symbol.for('millrace.StatusError');

/** What a {@link StatusError} carries beside its code and message. */
export interface StatusErrorOptions {
  /** Custom metadata, sent as trailers. */
  readonly metadata?: MetadataInit | undefined;
  /** Made by {@link detailOf}; sent as `grpc-status-details-bin` (google.rpc.Status). */
  readonly details?: readonly StatusDetail[] | undefined;
  /** Stays on this side: logged, never sent. */
  readonly cause?: unknown;
}

/**
 * An outcome of a call that its peer may know: code, message, metadata and details cross the wire.
 *
 * ```ts
 * throw new StatusError(Status.NOT_FOUND, `no order ${id}`);
 * ```
 *
 * Anything else that a handler throws reaches the peer as INTERNAL with a generic message.
 */
export class StatusError extends Error {
  /** One of the 17 codes. */
  readonly code: Status;
  /** All details in order, also those of types that nobody here knows. */
  readonly details: readonly StatusDetail[];
  #metadata: Metadata | undefined;

  constructor(code: Status, message = '', options?: StatusErrorOptions) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    if (!isStatus(code)) {
      throw new TypeError(`StatusError takes a status code from 0 to 16, not ${String(code)}`);
    }
    this.code = code;
    this.details = options?.details ?? [];
    if (options?.metadata !== undefined) {
      this.#metadata = Metadata.from(options.metadata);
    }
  }

  /** `NOT_FOUND`, … */
  get codeName(): string {
    return statusName(this.code);
  }

  /** Custom metadata of the trailers; empty when none was given. */
  get metadata(): Metadata {
    this.#metadata ??= new Metadata();
    return this.#metadata;
  }

  /**
   * The first detail of a type; `undefined` if there is none, or none that can be read.
   *
   * ```ts
   * const info = error.detail(RetryInfo);
   * if (info?.retryDelay) await sleep(durationToMs(info.retryDelay));
   * ```
   */
  detail<M>(type: MessageType<M, never>): M | undefined {
    return findDetail(this, type);
  }

  /** Whether a value is a StatusError, also one of another copy of this package. */
  static is(value: unknown): value is StatusError {
    return typeof value === 'object' && value !== null && brand in value;
  }

  /**
   * The StatusError that the peer sees for anything thrown: itself when it is one, INTERNAL with
   * `message` and the thrown value as its cause otherwise.
   */
  static from(value: unknown, message = 'the handler failed'): StatusError {
    return StatusError.is(value)
      ? value
      : new StatusError(Status.INTERNAL, message, { cause: value });
  }
}

// On the prototype and not enumerable: no field per error, and nothing of it in a log line.
Object.defineProperty(StatusError.prototype, brand, { value: true });
Object.defineProperty(StatusError.prototype, 'name', { value: 'StatusError' });
