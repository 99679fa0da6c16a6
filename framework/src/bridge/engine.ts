import { collectCopies } from '../codec/copies.js';
import type { MessageType } from '../codec/message-type.js';
import { Reader } from '../codec/reader.js';
import type { Metadata } from '../context/metadata.js';
import type { PeerIdentity } from '../context/peer.js';
import type { CallPort, Watched } from '../stream/port.js';
import {
  CONTROL_CALL_CAPACITY,
  CONTROL_EPOCH,
  CONTROL_LEVEL,
  CONTROL_OUTBOUND_FULL,
  CONTROL_RING_FREE,
  CONTROL_STREAM_MARK,
} from './layout.js';
import { decodeMetadata, encodeMetadata, encodeStatus } from './metadata-block.js';
import type {
  NativeEngine,
  NativeEngineConstructor,
  NativeSubscription,
  NativeTls,
  NativeTopics,
} from './native.js';
import { Operations } from './operations.js';
import { type RecordSink, readRecords } from './records.js';
import { publishQueued } from './topics-port.js';

const WATCH_MS = 100;
const levels = ['open', 'low', 'critical'] as const;

/** Something that native code has to tell: a log line, or a step of the drain. */
export interface Notice {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly event: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

/** What every engine calls, whichever its role. */
export interface EngineSink {
  writable(call: number): void;
  notice(notice: Notice): void;
}

/** What the engine of a server calls. */
export interface EngineHandler extends RecordSink, EngineSink {}

/** A method as native code knows it; its id is its position. */
export interface RegisteredMethod {
  readonly path: string;
  readonly kind: MethodCode;
}

/** The method kinds as native code numbers them. */
export const MethodCode = {
  unary: 0,
  'client-streaming': 1,
  'server-streaming': 2,
  bidi: 3,
} as const;
export type MethodCode = (typeof MethodCode)[keyof typeof MethodCode];

/** The engine of this thread: its life, its memory, and the way of a batch into JavaScript. */
export class Engine<Sink extends EngineSink = EngineHandler> implements CallPort {
  readonly consumed: Uint32Array;
  readonly pending: Uint32Array;
  readonly streamMark: number;
  readonly callCapacity: number;
  protected readonly native: NativeEngine;
  readonly #control: Uint32Array;
  readonly #records: Uint32Array;
  readonly #slots: Uint32Array;
  /** By index; 0 is the receive ring. */
  readonly #regions: Uint8Array[];
  readonly #reader = new Reader();
  protected readonly operations: Operations;
  readonly #handler: Sink;
  /** Reply streams over their mark. */
  readonly #watched = new Set<Watched>();
  #watch: NodeJS.Timeout | undefined;
  protected closed = false;

  /**
   * @param options limits by name, and `driver`; handed to native code as they are.
   * @param read hands the records of a batch to the sink; by default, a server's.
   */
  constructor(
    Native: NativeEngineConstructor,
    options: { readonly sendMessageBytes: number; readonly [name: string]: unknown },
    handler: Sink,
    read: (table: Uint32Array, count: number, sink: Sink) => void = readRecords as never,
  ) {
    this.#handler = handler;
    this.native = new Native(options, {
      onBatch: (count) => {
        collectCopies();
        read(this.#records, count, handler);
      },
      onRegion: (index, buffer) => {
        this.#regions[index] = new Uint8Array(buffer);
      },
      onNotice: (json) => handler.notice(JSON.parse(json) as Notice),
    });
    const views = this.native.views();
    this.#control = new Uint32Array(views.control);
    this.#records = new Uint32Array(views.records);
    this.#slots = new Uint32Array(views.slots);
    this.consumed = new Uint32Array(views.consumed);
    this.pending = new Uint32Array(views.pending);
    this.#regions = [new Uint8Array(views.ring)];
    this.streamMark = this.#control[CONTROL_STREAM_MARK]!;
    this.callCapacity = this.#control[CONTROL_CALL_CAPACITY]!;
    this.operations = new Operations(
      this.native,
      this.#control,
      new Uint32Array(views.operations),
      new Uint8Array(views.arena),
      options.sendMessageBytes,
    );
  }

  get driver(): string {
    return this.native.driver;
  }

  get driverReason(): string {
    return this.native.driverReason;
  }

  // --- life ---

  /** Returns the id of the first. */
  register(methods: readonly RegisteredMethod[]): number {
    return this.native.register(methods.map(({ path, kind }) => ({ path, kind })));
  }

  /** @throws Error with a code MILLRACE_TLS_*; what was there before stays */
  secure(tls: NativeTls): void {
    this.native.secure(tls);
  }

  listen(host: string, port: number, reusePort: boolean, backlog: number): number {
    return this.native.listen(host, port, reusePort, backlog);
  }

  /** @throws Error with a MILLRACE_* code */
  listenUnix(address: string, mode: number | undefined, shared: boolean, backlog: number): void {
    this.native.listenUnix(address, mode, shared, backlog);
  }

  /** @throws Error with the code MILLRACE_DESCRIPTOR_INVALID */
  listenDescriptor(descriptor: number): void {
    this.native.listenDescriptor(descriptor);
  }

  stats(): Record<string, unknown> {
    return this.closed ? {} : (JSON.parse(this.native.stats()) as Record<string, unknown>);
  }

  drain(): void {
    if (!this.closed) this.native.drain();
  }

  flush(): void {
    if (!this.closed) this.operations.flush();
  }

  /** What the engine times comes due as if that much time had passed. */
  advance(milliseconds: number): void {
    if (!this.closed) this.native.advance(milliseconds);
  }

  /** The views are detached from here on; calls must have been told before. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.#watch);
    this.native.close();
  }

  // --- calls: inbound ---

  get level(): 'open' | 'low' | 'critical' {
    return levels[this.#control[CONTROL_LEVEL]!] ?? 'critical';
  }

  get ringFree(): number {
    return this.#control[CONTROL_RING_FREE]!;
  }

  decode<M>(type: MessageType<M, never>, slot: number): M {
    const slots = this.#slots;
    const at = slot * 4;
    const length = slots[at + 2]!;
    return type.decode(
      this.#reader.set(this.#regions[slots[at]!]!, slots[at + 1]!, length),
      length,
    );
  }

  isCompressed(slot: number): boolean {
    return this.#slots[slot * 4 + 3] === 1;
  }

  metadata(call: number): Metadata | undefined {
    const block = this.closed ? null : this.native.metadata(call);
    return block === null ? undefined : decodeMetadata(block);
  }

  peer(call: number): string | undefined {
    return (this.closed ? null : this.native.peer(call)) ?? undefined;
  }

  peerIdentity(call: number): PeerIdentity | undefined {
    const json = this.closed ? null : this.native.peerIdentity(call);
    if (json === null) return undefined;
    const { validFromMs, validToMs, ...rest } = JSON.parse(json);
    return { ...rest, validFrom: new Date(validFromMs), validTo: new Date(validToMs) };
  }

  // --- calls: outbound ---

  get epoch(): number {
    return this.#control[CONTROL_EPOCH]!;
  }

  get outboundFull(): boolean {
    return this.#control[CONTROL_OUTBOUND_FULL] !== 0;
  }

  sendMessage<Init>(call: number, type: MessageType<unknown, Init>, message: Init): number {
    return this.operations.message(call, type, message);
  }

  sendReply<Init>(call: number, type: MessageType<unknown, Init>, message: Init): void {
    this.operations.reply(call, type, message);
  }

  sendHeaders(call: number, metadata: Metadata | undefined): void {
    this.operations.headers(call, metadata === undefined ? undefined : encodeMetadata(metadata));
  }

  /** Ends a call with OK, a message for people and trailers; both may be left out. */
  sendStatus(call: number, code: number, message: string, trailers: Metadata | undefined): void {
    const plain = message === '' && (trailers === undefined || trailers.size === 0);
    this.operations.status(call, code, plain ? undefined : encodeStatus(message, trailers ?? []));
  }

  /**
   * Says, in the turn of the record that cancels a call by its deadline, with which message and
   * trailers it ends.
   */
  sayReason(call: number, message: string, trailers: Metadata | undefined): void {
    this.operations.reason(call, encodeStatus(message, trailers ?? []));
  }

  /**
   * The engine's WRITABLE record is what resumes a stream. But both sides judge by `pending`, and
   * what leaves between our look and the engine's may make them differ once in a long while: so we
   * look again from time to time, lest a handler waits forever.
   */
  watch(stream: Watched): void {
    this.#watched.add(stream);
    if (this.#watch !== undefined) return;
    this.#watch = setInterval(() => {
      for (const watched of this.#watched) {
        if (watched.isWritable) this.#handler.writable(watched.call);
      }
      if (this.#watched.size > 0) return;
      clearInterval(this.#watch);
      this.#watch = undefined;
    }, WATCH_MS).unref();
  }

  unwatch(stream: Watched): void {
    this.#watched.delete(stream);
  }

  sayConsumed(call: number): void {
    this.operations.consumed(call);
  }

  sayReading(call: number): void {
    this.operations.reading(call);
  }

  sayDiscard(call: number): void {
    this.operations.discard(call);
  }

  sayCompression(call: number, encoding: number, enabled: boolean): void {
    this.operations.compression(call, encoding, enabled);
  }

  sayRelease(call: number): void {
    this.operations.release(call);
  }

  /**
   * Has a call get events from now on, behind what was sent on it so far.
   *
   * @throws Error with a code MILLRACE_*
   */
  subscribe(call: number, topics: NativeTopics, subscription: NativeSubscription): void {
    publishQueued();
    this.native.subscribe(call, topics, subscription);
  }
}
