import {
  CONTROL_ARENA_USED,
  CONTROL_CALL_CAPACITY,
  CONTROL_EPOCH,
  CONTROL_OPERATION_CAPACITY,
  CONTROL_OPERATION_COUNT,
  CONTROL_OUTBOUND_FULL,
  CONTROL_RECORD_CAPACITY,
  CONTROL_STREAM_MARK,
  CONTROL_WORDS,
  NO_SLOT,
  OPERATION_CONSUMED,
  RECORD_WORDS,
} from './layout.js';
import type { NativeCallbacks, NativeEngine, NativeViews } from './native.js';

/** An operation as the fake found it, with a copy of its bytes. */
export interface FakeOperation {
  readonly kind: number;
  readonly flags: number;
  readonly call: number;
  readonly bytes: Uint8Array;
}

/**
 * The native side of the contract in plain memory, for tests and the micro-benchmark: they write
 * records, and look at operations. It has no socket, no clock and no driver.
 */
export class FakeNative implements NativeEngine {
  readonly driver = 'fake';
  readonly driverReason = 'fake: nothing crosses a wire';
  readonly callbacks: NativeCallbacks;
  readonly options: object;
  readonly control = new Uint32Array(CONTROL_WORDS);
  readonly pending: Uint32Array;
  readonly consumed: Uint32Array;
  readonly metadataBlocks = new Map<number, Uint8Array>();
  readonly events: string[] = [];
  methods: { path: string; kind: number }[] = [];
  /** Operations of all drains, in order; the benchmark turns it off. */
  operations: FakeOperation[] = [];
  keepsOperations = true;
  drains = 0;
  readonly #records: Uint32Array;
  readonly #slots: Uint32Array;
  readonly #operations: Uint32Array;
  readonly #arena: Uint8Array;
  readonly #ring: Uint8Array;
  #recordCount = 0;
  #ringUsed = 0;
  #slotCount = 0;

  constructor(
    options: object,
    callbacks: NativeCallbacks,
    sizes: { calls?: number; operations?: number; arena?: number; records?: number } = {},
  ) {
    const { calls = 64, operations = 64, arena = 4096, records = 8192 } = sizes;
    this.options = options;
    this.callbacks = callbacks;
    this.control[CONTROL_RECORD_CAPACITY] = records;
    this.control[CONTROL_OPERATION_CAPACITY] = operations;
    this.control[CONTROL_CALL_CAPACITY] = calls;
    this.control[CONTROL_STREAM_MARK] = 262_144;
    this.pending = new Uint32Array(calls);
    this.consumed = new Uint32Array(calls);
    this.#records = new Uint32Array(records * RECORD_WORDS);
    this.#slots = new Uint32Array(4 * 16_384);
    this.#operations = new Uint32Array(4 * operations);
    this.#arena = new Uint8Array(arena);
    this.#ring = new Uint8Array(1 << 20);
  }

  subscribe(call: number): void {
    this.events.push(`subscribe ${call}`);
  }

  // --- what tests do ---

  /** Puts a message into memory; returns its slot. */
  put(bytes: Uint8Array): number {
    this.#ring.set(bytes, this.#ringUsed);
    const slot = this.#slotCount++;
    this.#slots.set([0, this.#ringUsed, bytes.length, 0], slot * 4);
    this.#ringUsed += bytes.length;
    return slot;
  }

  /** Moves a waiting message, as the engine may at any time between batches. */
  move(slot: number, region: number, offset: number): void {
    this.#slots[slot * 4] = region;
    this.#slots[slot * 4 + 1] = offset;
  }

  /** Overwrites where a message was. */
  poison(slot: number): void {
    const [, offset = 0, length = 0] = this.#slots.subarray(slot * 4, slot * 4 + 4);
    this.#ring.fill(0xff, offset, offset + length);
  }

  record(
    kind: number,
    call: number,
    rest: { flags?: number; method?: number; slot?: number; aux?: number } = {},
  ): this {
    const { flags = 0, method = 0, slot = NO_SLOT, aux = 0 } = rest;
    this.#records.set(
      [kind | (flags << 8) | (method << 16), call, slot, aux],
      this.#recordCount * 4,
    );
    this.#recordCount++;
    return this;
  }

  /** Hands the records over, lets promises run, and drains what came of it. */
  async batch(): Promise<void> {
    this.deliver();
    for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve));
    this.flush();
  }

  /** Hands the records over, and nothing else. */
  deliver(): void {
    const count = this.#recordCount;
    this.#recordCount = 0;
    this.callbacks.onBatch(count);
  }

  setFull(full: boolean): void {
    this.control[CONTROL_OUTBOUND_FULL] = full ? 1 : 0;
  }

  /** The operations since the last look. */
  take(): FakeOperation[] {
    this.flush();
    const taken = this.operations;
    this.operations = [];
    return taken;
  }

  // --- what the framework calls ---

  views(): NativeViews {
    return {
      control: this.control.buffer as ArrayBuffer,
      records: this.#records.buffer as ArrayBuffer,
      slots: this.#slots.buffer as ArrayBuffer,
      consumed: this.consumed.buffer as ArrayBuffer,
      pending: this.pending.buffer as ArrayBuffer,
      operations: this.#operations.buffer as ArrayBuffer,
      arena: this.#arena.buffer as ArrayBuffer,
      ring: this.#ring.buffer as ArrayBuffer,
    };
  }

  register(methods: { path: string; kind: number }[]): number {
    this.methods = methods;
    return 0;
  }

  listen(): number {
    return 1;
  }

  listenUnix(): void {}

  listenDescriptor(): void {}

  flush(): void {
    const count = this.control[CONTROL_OPERATION_COUNT]!;
    if (count === 0) return;
    const said = new Set<number>();
    for (let index = 0; this.keepsOperations && index < count; index++) {
      const [head = 0, call = 0, a = 0, b = 0] = this.#operations.subarray(
        index * 4,
        index * 4 + 4,
      );
      const kind = head & 0xff;
      if (kind === OPERATION_CONSUMED) {
        if (said.has(call)) throw new Error(`CONSUMED twice in one epoch for call ${call}`);
        said.add(call);
      }
      if (a + b > this.control[CONTROL_ARENA_USED]!) throw new Error('bytes beyond ARENA_USED');
      this.operations.push({ kind, flags: head >>> 8, call, bytes: this.#arena.slice(a, a + b) });
    }
    this.#arena.fill(0xee, 0, this.keepsOperations ? this.control[CONTROL_ARENA_USED] : 0);
    this.control[CONTROL_OPERATION_COUNT] = 0;
    this.control[CONTROL_ARENA_USED] = 0;
    this.control[CONTROL_EPOCH]!++;
    this.drains++;
  }

  sendLarge(call: number, bytes: Uint8Array, ends: boolean): void {
    this.flush();
    this.operations.push({ kind: ends ? 1 : 2, flags: 0, call, bytes: bytes.slice() });
  }

  metadata(call: number): Uint8Array | null {
    return this.metadataBlocks.get(call) ?? null;
  }

  peer(): string {
    return '127.0.0.1:1234';
  }

  peerIdentity(): string | null {
    return null;
  }

  secure(): void {
    this.events.push('secure');
  }

  stats(): string {
    return '{"driver":"fake","http2":{}}';
  }

  drain(): void {
    this.events.push('drain');
  }

  advance(milliseconds: number): void {
    this.events.push(`advance ${milliseconds}`);
  }

  close(): void {
    this.events.push('close');
  }
}
