// What `@millrace/native` offers to the framework's bridge; no one else imports it, and it follows
// no semantic versioning of its own. The layout of the tables is that of the engine's `layout.rs`.

/** The engine's limits by their camelCase names; absent ones have their defaults. */
export interface NativeOptions {
  /** `bundle`, `ring`, `classic` or `portable`; absent: the best that this kernel admits. */
  readonly driver?: string;
  readonly [limit: string]: number | string | undefined;
}

/** What the engine calls, on its own thread, once per batch and in this order. */
export interface NativeCallbacks {
  /** A new region of memory that slots may name from now on. Region 0 is `views().ring`. */
  onRegion(index: number, buffer: ArrayBuffer): void;
  /** Something for the log: `{"level":…,"event":…,…}`. */
  onNotice(json: string): void;
  /** The first `count` entries of the record table are new. What this throws is fatal. */
  onBatch(count: number): void;
}

/** Memory that both sides see; detached by `close()`. */
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

/** A method that is served; its number is its position in the list. */
export interface NativeMethod {
  /** `/package.Service/Method` */
  path: string;
  /** 0 unary, 1 client-streaming, 2 server-streaming, 3 bidirectional */
  kind: number;
}

/**
 * One engine of this JavaScript thread. The garbage collector does not end it: `close()` does, or
 * the end of the thread. It keeps the process alive while it listens or a call is active.
 *
 * Every method may be called inside a callback. What fails throws an `Error` with a `code`.
 */
export class NativeEngine {
  /** Throws `MILLRACE_OPTION_INVALID`, or the code of what the engine could not get. */
  constructor(options: NativeOptions, callbacks: NativeCallbacks);
  /** The driver that runs. */
  readonly driver: string;
  /** One sentence for the log: why this driver, and what would lift it. */
  readonly driverReason: string;
  /** The same object at every call. Throws `MILLRACE_ENGINE_CLOSED` after `close()`. */
  views(): NativeViews;
  /** Paths that are not in the list are answered with UNIMPLEMENTED. */
  register(methods: readonly NativeMethod[]): void;
  /** The port, which is the system's choice for 0. */
  listen(host: string, port: number, reusePort: boolean, backlog: number): number;
  /** Drains the operation table and the arena, when one is full. Nothing after `close()`. */
  flush(): void;
  /** A message larger than the arena; its bytes are copied. Nothing after `close()`. */
  sendLarge(call: number, bytes: Uint8Array): void;
  /** The metadata block of a call's request headers; null without one, and when it is over. */
  metadata(call: number): Buffer | null;
  /** Address and port of a call's peer; null when it is over. */
  peer(call: number): string | null;
  /** JSON; after `close()` the statistics of the end. */
  stats(): string;
  /** Stops listening and sends the peers away; the notice `drained` says when they have gone. */
  drain(): void;
  /** Ends calls and connections, detaches the views; inside a callback: after it. Idempotent. */
  close(): void;
}

/** How many engines of this process were leaked on purpose when their thread ended. */
export function leakedEngines(): number;
