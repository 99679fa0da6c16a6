import type { Logger } from 'pino';
import type { MethodKind } from '../service/descriptor.js';
import type { CallCompression } from './compression.js';
import type { Metadata, MetadataInit } from './metadata.js';
import type { Peer } from './peer.js';
import type { Pressure } from './pressure.js';

/** The method of a call. */
export interface MethodInfo {
  /** `millrace.echo.v1.Echo` */
  readonly service: string;
  /** `Say` */
  readonly name: string;
  /** `/millrace.echo.v1.Echo/Say` */
  readonly path: string;
  /** How many messages go each way. */
  readonly kind: MethodKind;
}

/** What a handler knows of its call. Everything is made when it is first asked for. */
export interface Context {
  /** What was called. */
  readonly method: MethodInfo;
  /**
   * Aborts when the call is cancelled (reset by the peer, deadline, lost connection), with the
   * StatusError as its reason. Never aborts on a regular end.
   */
  readonly signal: AbortSignal;
  /** When the client stops waiting; `undefined` if it has set no deadline. */
  readonly deadline: Date | undefined;
  /** The custom metadata of the request. */
  readonly metadata: Metadata;
  /** The client: its address and, with mutual TLS, its identity. */
  readonly peer: Peer;
  /** Unique within the process; in every line of `logger`. */
  readonly requestId: string;
  /** A pino child that names the method and the request. */
  readonly logger: Logger;
  /** How near the call is to its bounds, at this moment. */
  readonly pressure: Pressure;
  /** Whether messages came compressed, and whether replies are. */
  readonly compression: CallCompression;
  /** Sent with the status at the end of the call, whatever it is. */
  readonly trailers: Metadata;
  /**
   * Sends the response headers now, with custom metadata if given. Otherwise they go with the first
   * message, so that an early error reaches the client as a single block that it may retry.
   *
   * @throws MillraceError MILLRACE_HEADERS_SENT
   */
  sendHeaders(metadata?: MetadataInit): void;
}
