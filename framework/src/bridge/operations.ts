import { Writer } from '../codec/arena-writer.js';
import { toBinary } from '../codec/message.js';
import type { MessageType } from '../codec/message-type.js';
import { MillraceError } from '../errors.js';
import { Status } from '../status/status.js';
import { StatusError } from '../status/status-error.js';
import {
  CONTROL_ARENA_USED,
  CONTROL_EPOCH,
  CONTROL_OPERATION_CAPACITY,
  CONTROL_OPERATION_COUNT,
  MESSAGE_END,
  OPERATION_CANCEL,
  OPERATION_COMPRESSION,
  OPERATION_CONSUMED,
  OPERATION_DISCARD,
  OPERATION_END,
  OPERATION_HEADERS,
  OPERATION_MESSAGE,
  OPERATION_READING,
  OPERATION_REASON,
  OPERATION_RELEASE,
  OPERATION_REPLY,
  OPERATION_START,
  OPERATION_STATUS,
  START_DEFLATE,
  START_GZIP,
  START_HAS_METADATA,
} from './layout.js';
import type { NativeEngine } from './native.js';

/** By the number of an encoding. */
const startFlags = [0, START_GZIP, START_DEFLATE];

/**
 * What JavaScript has to say to native code: a queue of operations, and the arena into which their
 * messages are encoded. Both are emptied once a turn, or by `flush` when one of them is full.
 *
 * It is the codec's Writer over the arena. A message that outgrows the arena moves to the heap and
 * goes by `sendLarge`. So does one whose getters send something themselves while it is encoded: that
 * comes first, and has the arena.
 */
export class Operations extends Writer {
  readonly #native: NativeEngine;
  readonly #control: Uint32Array;
  readonly #table: Uint32Array;
  readonly #capacity: number;
  readonly #arena: Uint8Array;
  readonly #messageBytesMax: number;
  /** A message lies behind what the arena has, or on the heap, whose getters may come back here. */
  #encoding = false;

  constructor(
    native: NativeEngine,
    control: Uint32Array,
    table: Uint32Array,
    arena: Uint8Array,
    messageBytesMax: number,
  ) {
    super(arena);
    this.#native = native;
    this.#control = control;
    this.#table = table;
    this.#capacity = control[CONTROL_OPERATION_CAPACITY]!;
    this.#arena = arena;
    this.#messageBytesMax = messageBytesMax;
  }

  /** Changes with each drain. */
  get epoch(): number {
    return this.#control[CONTROL_EPOCH]!;
  }

  /**
   * Sends a message of a response stream. Returns the bytes that it adds to what the arena holds for
   * this call (a large message is native code's already: 0).
   *
   * @throws EncodeError; StatusError RESOURCE_EXHAUSTED for a message beyond `sendMessageBytes`.
   * Nothing is sent then.
   */
  message<Init>(call: number, type: MessageType<unknown, Init>, message: Init): number {
    if (this.#encoding) return this.encoded(call, this.#encodeAside(type, message));
    const length = this.#encode(type, message);
    if (this.bytes !== this.#arena) {
      this.#sendLarge(call, length, false);
      return 0;
    }
    this.#control[CONTROL_ARENA_USED] = this.pos;
    this.#push(OPERATION_MESSAGE, call, this.start, length);
    return length;
  }

  /** Ends a call with its only message and status OK. @throws like `message` */
  reply<Init>(call: number, type: MessageType<unknown, Init>, message: Init): void {
    if (this.#encoding) {
      this.#sendEncoded(OPERATION_REPLY, call, this.#encodeAside(type, message), true);
      return;
    }
    const length = this.#encode(type, message);
    if (this.bytes !== this.#arena) {
      this.#sendLarge(call, length, true);
      return;
    }
    this.#control[CONTROL_ARENA_USED] = this.pos;
    this.#push(OPERATION_REPLY, call, this.start, length);
  }

  /** Ends a call; `block` holds the status message and the trailers. */
  status(call: number, code: number, block?: Uint8Array): void {
    this.#pushBlock(OPERATION_STATUS | (code << 8), call, block);
  }

  /** With what a call ends whose deadline has passed; `block` as of `status`. */
  reason(call: number, block: Uint8Array): void {
    this.#pushBlock(OPERATION_REASON, call, block);
  }

  /** Sends the response headers; `block` holds custom metadata. */
  headers(call: number, block?: Uint8Array): void {
    this.#pushBlock(OPERATION_HEADERS, call, block);
  }

  /**
   * Begins a client's call and sends its only request, packed by `encoding`. `block` holds custom
   * metadata. Nothing has begun when this throws.
   *
   * @throws like `message`
   */
  request<Init>(
    call: number,
    connection: number,
    method: number,
    timeoutMs: number,
    encoding: number,
    block: Uint8Array | undefined,
    type: MessageType<unknown, Init>,
    message: Init,
  ): void {
    if (this.#encoding) {
      const bytes = this.#encodeAside(type, message);
      this.startCall(call, connection, method, timeoutMs, encoding, block);
      this.#sendEncoded(OPERATION_MESSAGE | (MESSAGE_END << 8), call, bytes, true);
      return;
    }
    const length = this.#encode(type, message);
    const { start } = this;
    // Room for all three: a flush between them would empty the arena under the message.
    if (this.#control[CONTROL_OPERATION_COUNT]! + 3 > this.#capacity) this.#native.flush();
    if (
      this.bytes !== this.#arena ||
      (block !== undefined && this.pos + block.length > this.#arena.length)
    ) {
      const bytes = this.bytes.slice(start, start + length);
      this.#backToArena();
      this.startCall(call, connection, method, timeoutMs, encoding, block);
      this.#native.sendLarge(call, bytes, true);
      return;
    }
    this.#control[CONTROL_ARENA_USED] = this.pos;
    this.startCall(call, connection, method, timeoutMs, encoding, block);
    this.#push(OPERATION_MESSAGE | (MESSAGE_END << 8), call, start, length);
  }

  /** Begins a client's call; its messages follow. */
  startCall(
    call: number,
    connection: number,
    method: number,
    timeoutMs: number,
    encoding: number,
    block: Uint8Array | undefined,
  ): void {
    const flags = startFlags[encoding]! | (block === undefined ? 0 : START_HAS_METADATA);
    if (block !== undefined) this.#reserve(2, block.length);
    this.#push(
      (OPERATION_START | (flags << 8) | (method << 16)) >>> 0,
      call,
      connection,
      timeoutMs,
    );
    if (block !== undefined) this.#pushBlock(OPERATION_HEADERS, call, block);
  }

  /** Sends a message that is encoded already. Returns the bytes that the arena holds of it. */
  encoded(call: number, bytes: Uint8Array): number {
    return this.#sendEncoded(OPERATION_MESSAGE, call, bytes, false);
  }

  /** Ends a client's request stream. */
  endRequests(call: number): void {
    this.#push(OPERATION_END, call, 0, 0);
  }

  /** Gives a client's call up: it ends with this status code. */
  cancel(call: number, code: number): void {
    this.#push(OPERATION_CANCEL | (code << 8), call, 0, 0);
  }

  consumed(call: number): void {
    this.#push(OPERATION_CONSUMED, call, 0, 0);
  }

  reading(call: number): void {
    this.#push(OPERATION_READING, call, 0, 0);
  }

  discard(call: number): void {
    this.#push(OPERATION_DISCARD, call, 0, 0);
  }

  compression(call: number, encoding: number, enabled: boolean): void {
    this.#push(OPERATION_COMPRESSION, call, encoding, enabled ? 1 : 0);
  }

  release(call: number): void {
    this.#push(OPERATION_RELEASE, call, 0, 0);
  }

  flush(): void {
    this.#native.flush();
  }

  /** Leaves the message between `start` and `pos`, in the arena or on the heap. */
  #encode<Init>(type: MessageType<unknown, Init>, message: Init): number {
    this.pos = this.#control[CONTROL_ARENA_USED]!;
    this.begin();
    this.#encoding = true;
    try {
      type.encode(message, this);
    } catch (error) {
      this.#encoding = false;
      this.#backToArena();
      throw error;
    }
    this.#encoding = false;
    // The queue must have room before the message counts as used: a flush then would empty the arena
    // under it.
    if (this.#control[CONTROL_OPERATION_COUNT]! >= this.#capacity) this.#native.flush();
    const length = this.finish();
    if (length > this.#messageBytesMax) {
      this.#backToArena();
      throw tooLarge(type.typeName, length, this.#messageBytesMax);
    }
    return length;
  }

  /** ARENA_USED has not moved yet, so that what was written is forgotten. */
  #backToArena(): void {
    this.bytes = this.#arena;
    this.end = this.#arena.length;
  }

  /** Encodes what a getter sends whose own message has the arena. @throws like `message` */
  #encodeAside<Init>(type: MessageType<unknown, Init>, message: Init): Uint8Array {
    const bytes = toBinary(type, message);
    if (bytes.length > this.#messageBytesMax) {
      throw tooLarge(type.typeName, bytes.length, this.#messageBytesMax);
    }
    return bytes;
  }

  /** Returns the bytes that the arena holds of it. */
  #sendEncoded(operation: number, call: number, bytes: Uint8Array, ends: boolean): number {
    if (bytes.length > this.#arena.length) {
      this.#native.sendLarge(call, bytes, ends);
      return 0;
    }
    this.#pushBlock(operation, call, bytes);
    return bytes.length;
  }

  /** Native code drains the queue first: what this call has said before comes first on the wire. */
  #sendLarge(call: number, length: number, ends: boolean): void {
    const bytes = this.bytes.subarray(this.start, this.start + length);
    this.#backToArena();
    this.#native.sendLarge(call, bytes, ends);
  }

  protected override overflow(need: number): void {
    const length = this.pos - this.start;
    if (this.bytes === this.#arena) {
      this.#native.flush();
      if (length + need <= this.#arena.length) {
        this.#arena.copyWithin(0, this.start, this.pos);
        this.start = 0;
        this.pos = length;
        return;
      }
    }
    this.#toHeap(Math.max(2 * length, length + need, 2 * this.#arena.length));
  }

  /** Moves the message that is being encoded. */
  #toHeap(capacity: number): void {
    const length = this.pos - this.start;
    const grown = Buffer.allocUnsafeSlow(capacity);
    grown.set(this.bytes.subarray(this.start, this.pos));
    this.bytes = grown;
    this.start = 0;
    this.pos = length;
    this.end = grown.length;
  }

  #pushBlock(operation: number, call: number, block: Uint8Array | undefined): void {
    if (block === undefined || block.length === 0) {
      this.#push(operation, call, 0, 0);
      return;
    }
    const control = this.#control;
    // The bytes go where a message is being encoded, whose getter has said this.
    if (this.#encoding && this.bytes === this.#arena) this.#toHeap(2 * this.#arena.length);
    this.#reserve(1, block.length);
    const at = control[CONTROL_ARENA_USED]!;
    this.#arena.set(block, at);
    control[CONTROL_ARENA_USED] = at + block.length;
    this.#push(operation, call, at, block.length);
  }

  /** Makes room for operations that have to be drained together, and their bytes. */
  #reserve(operations: number, bytes: number): void {
    const control = this.#control;
    if (
      control[CONTROL_OPERATION_COUNT]! + operations > this.#capacity ||
      control[CONTROL_ARENA_USED]! + bytes > this.#arena.length
    ) {
      this.#native.flush();
    }
  }

  #push(operation: number, call: number, a: number, b: number): void {
    const control = this.#control;
    let count = control[CONTROL_OPERATION_COUNT]!;
    if (count >= this.#capacity) {
      this.#native.flush();
      count = control[CONTROL_OPERATION_COUNT]!;
    }
    const table = this.#table;
    const at = count * 4;
    table[at] = operation;
    table[at + 1] = call;
    table[at + 2] = a;
    table[at + 3] = b;
    control[CONTROL_OPERATION_COUNT] = count + 1;
  }
}

/** The peer gets to see the status, the log what to do about it. */
function tooLarge(typeName: string, length: number, most: number): StatusError {
  return new StatusError(
    Status.RESOURCE_EXHAUSTED,
    `the message has ${length} bytes, more than the limit of ${most} bytes`,
    {
      cause: new MillraceError(
        'MILLRACE_MESSAGE_TOO_LARGE',
        `a ${typeName} of ${length} bytes is larger than sendMessageBytes (${most})`,
      ),
    },
  );
}
