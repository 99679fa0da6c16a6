import type {
  NativeCallbacks,
  NativeClientTls,
  NativeDuplicates,
  NativeDurableOptions,
  NativeDurables,
  NativeSubscription,
  NativeTarget,
  NativeTopics,
  NativeTopicsOptions,
  NativeViews,
} from '@millrace/native';

export type {
  NativeCallbacks,
  NativeClientTls,
  NativeDuplicates,
  NativeDurableOptions,
  NativeDurables,
  NativeSubscription,
  NativeTarget,
  NativeTopics,
  NativeTopicsOptions,
  NativeViews,
};

/** What `@millrace/native` offers: the engine of one thread. */
export interface NativeEngine {
  readonly driver: string;
  /** Why this driver, and what would lift it. */
  readonly driverReason: string;
  views(): NativeViews;
  /** A client: adds methods and returns the number of the first of them. */
  register(methods: { path: string; kind: number }[]): number;
  /**
   * Speaks TLS with everybody who connects from now on. @throws Error with a code MILLRACE_TLS_*; what
   * was there before stays.
   */
  secure(tls: NativeTls): void;
  /** Returns the port. @throws Error with a `code` */
  listen(host: string, port: number, reusePort: boolean, backlog: number): number;
  /**
   * Listens on `unix:/path` or `unix-abstract:name`, `shared` with other engines of the process.
   * @throws Error with a `code`
   */
  listenUnix(address: string, mode: number | undefined, shared: boolean, backlog: number): void;
  /** Accepts from a duplicate of a descriptor that listens. @throws Error with a `code` */
  listenDescriptor(descriptor: number): void;
  /** Drains operations and arena now. */
  flush(): void;
  /**
   * Sends a message that does not fit into the arena, behind the operations queued so far; `ends`:
   * it is a reply, with headers and OK trailers, and ends the call.
   */
  sendLarge(call: number, bytes: Uint8Array, ends: boolean): void;
  /**
   * Has a call get events until it ends, behind what was queued for it; its headers leave. @throws Error
   * with a `code`
   */
  subscribe(call: number, topics: NativeTopics, subscription: NativeSubscription): void;
  /** The metadata block of a request; null if it has none or the call is over. */
  metadata(call: number): Uint8Array | null;
  peer(call: number): string | null;
  /** Who the peer is by its certificate, as JSON; null without one. */
  peerIdentity(call: number): string | null;
  stats(): string;
  /** Stops listening and asks clients to go; the notice `drained` says when the last has gone. */
  drain(): void;
  /** Moves the clock ahead, for tests. */
  advance(milliseconds: number): void;
  /** Cancels everything and detaches the views. */
  close(): void;
}

/** What the engine of a client offers beside. */
export interface NativeClientEngine
  extends Omit<NativeEngine, 'listen' | 'listenUnix' | 'listenDescriptor' | 'drain' | 'subscribe'> {
  /** Begins to connect; returns the connection's reference. What comes of it is a notice. */
  open(target: NativeTarget): number;
  /** No new calls; closes when the present ones are over. */
  shut(connection: number): void;
  /** Closes at once; its calls end UNAVAILABLE. */
  abort(connection: number): void;
  /** u32 message length, message, metadata block of the trailers; null: neither. */
  status(call: number): Uint8Array | null;
}

/** A server's certificates and key, PEM. */
export interface NativeTls {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
  readonly clientCertificate?: 'request' | 'require';
}

/** The constructor of {@link NativeEngine}. */
export type NativeEngineConstructor = new (
  options: object,
  callbacks: NativeCallbacks,
) => NativeEngine;

/** Loads the native module: only when a server starts, for that is when a ring is made. */
export async function loadNative(): Promise<NativeEngineConstructor> {
  const { NativeEngine } = await import('@millrace/native');
  return NativeEngine as unknown as NativeEngineConstructor;
}

/** Listening sockets as numbers. */
export interface NativeDescriptors {
  /**
   * Where a descriptor listens: `127.0.0.1:50051`, `[::1]:50051`, `unix:/path` or
   * `unix-abstract:name`; processes that this one starts do not inherit it from now on.
   * @throws Error with the code MILLRACE_DESCRIPTOR_INVALID
   */
  adoptListener(descriptor: number): string;
  /** Opens one, which the caller closes. @throws Error with a `code` */
  openListener(host: string, port: number, backlog: number): number;
}

/** Loads the same module, for what it does with descriptors. */
export async function loadDescriptors(): Promise<NativeDescriptors> {
  return await import('@millrace/native');
}
