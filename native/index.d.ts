// What `@millrace/native` offers to the framework's bridge; no one else imports it, and it follows
// no semantic versioning of its own. The layout of the tables is that of the engine's `layout.rs`.

/** The engine's limits by their camelCase names; absent ones have their defaults. */
export interface NativeOptions {
  /** `bundle`, `ring`, `classic` or `portable`; absent: the best that this kernel admits. */
  readonly driver?: string | undefined;
  readonly [limit: string]: number | string | undefined;
}

/** What the engine calls, on its own thread: once per batch, in this order. */
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

export { leakedEngines, NativeEngine, type NativeMethod } from './binding.js';
