// What `@millrace/native` offers to the framework's bridge; no one else imports it, and it follows
// no semantic versioning of its own. The layout of the tables is that of the engine's `layout.rs`.

/** The engine's limits by their camelCase names; absent ones have their defaults. */
export interface NativeOptions {
  /** `bundle`, `ring`, `classic` or `portable`; absent: the best that this kernel admits. */
  readonly driver?: string | undefined;
  /** `server` (the default) listens and answers, `client` connects and calls; never both. */
  readonly role?: 'server' | 'client' | undefined;
  /** With `http2.` before them, those of HTTP/2. */
  readonly [limit: string]: number | string | boolean | undefined;
}

/** What the engine calls, on its own thread: once per batch, in this order. */
export interface NativeCallbacks {
  /** A new region of memory that slots may name from now on. Region 0 is `views().ring`. */
  onRegion(index: number, buffer: ArrayBuffer): void;
  /** Something worth a log line or a decision: `{"level":…,"event":…,"message":…,…}`. */
  onNotice(json: string): void;
  /** The first `count` entries of the record table are new. What this throws is fatal. */
  onBatch(count: number): void;
}

/** Memory that both sides see, laid out by `layout.rs`; detached by `close()`. `ring` is region 0. */
export interface NativeViews {
  readonly control: ArrayBuffer;
  readonly records: ArrayBuffer;
  readonly slots: ArrayBuffer;
  readonly consumed: ArrayBuffer;
  readonly pending: ArrayBuffer;
  readonly operations: ArrayBuffer;
  readonly arena: ArrayBuffer;
  readonly ring: ArrayBuffer;
}

/** Where a client's engine connects to. Times are milliseconds. */
export interface NativeTarget {
  /** `127.0.0.1:50051`, `[::1]:50051`, `unix:/path` or `unix-abstract:name`; never a host name. */
  readonly address: string;
  /** What `:authority` says. */
  readonly authority: string;
  /** What `user-agent` says; absent: Millrace's own. */
  readonly userAgent?: string | undefined;
  /** PING after this time without a byte from the server; 0 or absent: never. */
  readonly keepaliveTimeMs?: number | undefined;
  /** The answer has to come within this time; 20,000 when absent. */
  readonly keepaliveTimeoutMs?: number | undefined;
  /** PING also while there is no call. */
  readonly keepaliveWithoutCalls?: boolean | undefined;
  /** TCP and HTTP/2 have to be set up within this time; 20,000 when absent. */
  readonly connectTimeoutMs?: number | undefined;
  /** How to speak TLS; absent: in the clear. */
  readonly tls?: NativeClientTls | undefined;
}

/** The TLS of a client; the texts are PEM. */
export interface NativeClientTls {
  /** The authorities to trust; absent: those of the system. */
  readonly ca?: string;
  /** Presented to servers that ask. */
  readonly cert?: string;
  readonly key?: string;
  /** What the server's certificate has to be for; absent: the host of the authority. */
  readonly serverName?: string;
}

/** A notice about a connection of a client's: what `onNotice` brings as JSON. */
export interface NativeConnectionNotice {
  readonly level: 'debug';
  readonly event: 'connection_state';
  /** What `open()` returned. */
  readonly connection: number;
  /**
   * `ready`: the server's SETTINGS have arrived. `failed`: it never became ready, and is gone.
   * `draining`: the server sent GOAWAY: calls under way go on, no new one starts. `closed`: it was
   * ready once, and is gone.
   */
  readonly state: 'ready' | 'failed' | 'draining' | 'closed';
  /** A sentence with the address and the cause. */
  readonly message: string;
  /** With `ready`: how many calls the server lets run at a time; absent: any number. */
  readonly maxConcurrentStreams?: number;
  /** The server said that the keepalive PINGs come too often: double their interval. */
  readonly tooManyPings?: true;
}

export {
  adoptListener,
  leakedEngines,
  NativeDuplicates,
  type NativeDurableOptions,
  NativeDurables,
  NativeEngine,
  type NativeMethod,
  type NativeSubscription,
  NativeTopics,
  type NativeTopicsOptions,
  openListener,
  publishQueued,
  publishRetained,
} from './binding.js';
