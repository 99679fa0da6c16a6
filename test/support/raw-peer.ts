// An HTTP/2 client that does what it is told, right or wrong: frames over a plain socket, with
// flow control that can be left undone. For tests of bad input, of faults and of slow peers.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { frame } from './echo-wire.js';
import { encodeFields, FieldDecoder, type Fields } from './hpack.js';

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const Flag = { ACK: 1, END_STREAM: 1, END_HEADERS: 4, PADDED: 8 } as const;

export const Setting = {
  HEADER_TABLE_SIZE: 1,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
} as const;

export const Reset = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  ENHANCE_YOUR_CALM: 11,
} as const;

const WINDOW_MAX = 2 ** 31 - 1;
const WINDOW_DEFAULT = 65_535;

export interface RawPeerOptions {
  /** SETTINGS to announce; by default none. */
  readonly settings?: readonly (readonly [id: number, value: number])[];
  /** Give back credit for received DATA at once (default). Otherwise `credit` does. */
  readonly autoCredit?: boolean;
  /** Keep received messages (default). Otherwise only count their bytes. */
  readonly keep?: boolean;
  /** Acknowledge PINGs (default). */
  readonly answersPings?: boolean;
}

export interface RequestOptions {
  readonly path?: string;
  readonly mode?: string;
  readonly fields?: readonly (readonly [string, string])[];
  readonly endStream?: boolean;
}

/** How a stream ended. `code` is the gRPC status, if one came. */
export interface StreamEnd {
  readonly code: number | undefined;
  readonly message: string;
  readonly reset: number | undefined;
  readonly connectionClosed: boolean;
}

/** One frame: nine bytes of head and the payload. */
export function rawFrame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A plain connection and everything that came over it until it closed. */
export async function exchange(port: number, bytes: Uint8Array, end = false): Promise<Buffer> {
  const socket = connect({ port, host: '127.0.0.1' });
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  socket.on('error', () => {});
  await once(socket, 'connect');
  const closed = once(socket, 'close');
  if (end) socket.end(bytes);
  else socket.write(bytes);
  await closed;
  return Buffer.concat(received);
}

export class RawPeer {
  readonly socket: Socket;
  readonly streams = new Map<number, RawStream>();
  /** Resolves when the connection is gone, whoever ended it. */
  readonly closed: Promise<void>;
  goAway:
    | { readonly lastStream: number; readonly reason: number; readonly debug: string }
    | undefined;
  /** Bytes of DATA payload received. */
  received = 0;
  /** What all streams together may still send. */
  sendWindow = WINDOW_DEFAULT;
  peerInitialWindow = WINDOW_DEFAULT;
  isClosed = false;

  readonly #autoCredit: boolean;
  readonly keep: boolean;
  readonly answersPings: boolean;
  readonly #decoder = new FieldDecoder();
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #block: { stream: number; flags: number; parts: Buffer[] } | undefined;
  #nextStream = 1;
  #killed = false;
  #pings = new Map<string, () => void>();
  #goAwayWaiters: (() => void)[] = [];
  /** What waits for the second part of a frame. */
  #held: Uint8Array[] | undefined;
  #writers = new Set<RawStream>();

  private constructor(socket: Socket, options: RawPeerOptions) {
    this.socket = socket;
    this.#autoCredit = options.autoCredit ?? true;
    this.keep = options.keep ?? true;
    this.answersPings = options.answersPings ?? true;
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.isClosed = true;
        for (const stream of this.streams.values()) stream.connectionClosed();
        for (const wake of this.#goAwayWaiters) wake();
        resolve();
      });
    });
    // A reset connection is an outcome here, not a fault of the test.
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('drain', () => this.pump());
  }

  static async connect(port: number, options: RawPeerOptions = {}): Promise<RawPeer> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const peer = new RawPeer(socket, options);
    await Promise.race([
      once(socket, 'connect'),
      once(socket, 'close').then(() => {
        throw new Error(`no connection to port ${port}`);
      }),
    ]);
    const settings = Buffer.concat(
      (options.settings ?? []).map(([id, value]) =>
        Buffer.concat([Buffer.from([id >> 8, id & 255]), word(value)]),
      ),
    );
    peer.write(Buffer.concat([PREFACE, rawFrame(FrameType.SETTINGS, 0, 0, settings)]));
    return peer;
  }

  write(bytes: Uint8Array): boolean {
    if (this.#held !== undefined) {
      this.#held.push(bytes);
      return true;
    }
    return this.isClosed || this.socket.destroyed ? false : this.socket.write(bytes);
  }

  /** Writes a frame in two parts, a turn apart; what else is written meanwhile waits. */
  async writeCut(bytes: Uint8Array, cut: number): Promise<void> {
    this.write(bytes.subarray(0, cut));
    const held: Uint8Array[] = [];
    this.#held = held;
    await nextTurn();
    this.#held = undefined;
    this.write(Buffer.concat([bytes.subarray(cut), ...held]));
  }

  /** Sends the head of a request and returns its stream. */
  request(options: RequestOptions = {}): RawStream {
    const id = this.#nextStream;
    this.#nextStream += 2;
    const fields: [string, string][] = [
      [':method', 'POST'],
      [':scheme', 'http'],
      [':path', options.path ?? '/millrace.echo.v1.Echo/Chat'],
      [':authority', 'localhost'],
      ['content-type', 'application/grpc'],
      ['te', 'trailers'],
    ];
    for (const [name, value] of options.fields ?? []) {
      const replaced = fields.find((field) => field[0] === name);
      if (replaced !== undefined) replaced[1] = value;
      else fields.push([name, value]);
    }
    if (options.mode !== undefined) fields.push(['mode', options.mode]);
    const flags = Flag.END_HEADERS | (options.endStream ? Flag.END_STREAM : 0);
    const stream = new RawStream(this, id, this.peerInitialWindow);
    this.streams.set(id, stream);
    this.write(rawFrame(FrameType.HEADERS, flags, id, encodeFields(fields)));
    return stream;
  }

  /** Resolves when the answer to a PING is here: everything sent before was processed. */
  async ping(): Promise<void> {
    const payload = Buffer.alloc(8);
    payload.writeUInt32BE(this.#pings.size + 1, 4);
    payload.writeUInt32BE(Math.floor(Math.random() * 2 ** 32), 0);
    const answered = new Promise<void>((resolve) =>
      this.#pings.set(payload.toString('hex'), resolve),
    );
    this.write(rawFrame(FrameType.PING, 0, 0, payload));
    await Promise.race([answered, this.closed]);
    if (this.isClosed) throw new Error('the connection closed before it answered a PING');
  }

  /** Resolves when a GOAWAY came; rejects if the connection closes without one. */
  async goingAway(): Promise<NonNullable<RawPeer['goAway']>> {
    if (this.goAway === undefined && !this.isClosed) {
      await new Promise<void>((resolve) => this.#goAwayWaiters.push(resolve));
    }
    if (this.goAway === undefined) throw new Error('the connection closed without a GOAWAY');
    return this.goAway;
  }

  credit(stream: number, bytes: number): void {
    this.write(rawFrame(FrameType.WINDOW_UPDATE, 0, stream, word(bytes)));
  }

  /** A connection window so large that only the streams' windows count. */
  creditConnectionFully(): void {
    this.credit(0, WINDOW_MAX - WINDOW_DEFAULT);
  }

  /** Closes with a TCP reset: what is under way is lost. */
  kill(): void {
    if (this.#killed) return;
    this.#killed = true;
    // libuv refuses to reset a connection that is being shut down, and Node.js then never says that it
    // is closed.
    if (this.socket.writableEnded) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.socket.destroy();
    await this.closed;
  }

  /** Sends what waiting streams may send. */
  pump(): void {
    for (const stream of [...this.#writers]) {
      if (this.socket.writableNeedDrain) return;
      if (stream.pump()) this.#writers.delete(stream);
      else if (this.sendWindow > 0) {
        // Round-robin: a stream that waits for its own window goes to the end.
        this.#writers.delete(stream);
        this.#writers.add(stream);
      }
    }
  }

  waiting(stream: RawStream): void {
    this.#writers.add(stream);
  }

  #receive(chunk: Buffer): void {
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.length;
    while (this.#pendingBytes >= 9) {
      const head = this.#peek(9);
      const length = head.readUIntBE(0, 3);
      if (this.#pendingBytes < 9 + length) return;
      const bytes = this.#take(9 + length);
      this.#frame(bytes[3]!, bytes[4]!, bytes.readUInt32BE(5) & 0x7fff_ffff, bytes.subarray(9));
    }
  }

  #peek(length: number): Buffer {
    const first = this.#pending[0]!;
    if (first.length >= length) return first;
    this.#pending = [Buffer.concat(this.#pending)];
    return this.#pending[0]!;
  }

  #take(length: number): Buffer {
    const first = this.#peek(length);
    this.#pendingBytes -= length;
    if (first.length === length) {
      this.#pending.shift();
      return first;
    }
    this.#pending[0] = first.subarray(length);
    return first.subarray(0, length);
  }

  #frame(type: number, flags: number, id: number, payload: Buffer): void {
    const stream = this.streams.get(id);
    switch (type) {
      case FrameType.SETTINGS:
        if ((flags & Flag.ACK) === 0) this.#settings(payload);
        break;
      case FrameType.PING:
        if ((flags & Flag.ACK) === 0 && !this.answersPings) break;
        if ((flags & Flag.ACK) === 0) this.write(rawFrame(FrameType.PING, Flag.ACK, 0, payload));
        else this.#pings.get(payload.toString('hex'))?.();
        break;
      case FrameType.GOAWAY:
        this.goAway = {
          lastStream: payload.readUInt32BE(0),
          reason: payload.readUInt32BE(4),
          debug: payload.subarray(8).toString(),
        };
        for (const wake of this.#goAwayWaiters) wake();
        break;
      case FrameType.WINDOW_UPDATE:
        if (id === 0) this.sendWindow += payload.readUInt32BE(0);
        else if (stream !== undefined) stream.sendWindow += payload.readUInt32BE(0);
        this.pump();
        break;
      case FrameType.RST_STREAM:
        stream?.wasReset(payload.readUInt32BE(0));
        break;
      case FrameType.HEADERS:
        this.#block = { stream: id, flags, parts: [payload] };
        if ((flags & Flag.END_HEADERS) !== 0) this.#headers();
        break;
      case FrameType.CONTINUATION:
        this.#block?.parts.push(payload);
        if ((flags & Flag.END_HEADERS) !== 0) this.#headers();
        break;
      case FrameType.DATA:
        this.received += payload.length;
        stream?.gotData(payload);
        if (this.#autoCredit && payload.length > 0) {
          this.credit(0, payload.length);
          if ((flags & Flag.END_STREAM) === 0) this.credit(id, payload.length);
        }
        if ((flags & Flag.END_STREAM) !== 0) stream?.ended();
        break;
      default:
        break;
    }
  }

  #headers(): void {
    const { stream, flags, parts } = this.#block!;
    this.#block = undefined;
    const fields = this.#decoder.decode(Buffer.concat(parts));
    this.streams.get(stream)?.gotFields(fields, (flags & Flag.END_STREAM) !== 0);
  }

  #settings(payload: Buffer): void {
    for (let offset = 0; offset + 6 <= payload.length; offset += 6) {
      if (payload.readUInt16BE(offset) !== Setting.INITIAL_WINDOW_SIZE) continue;
      const window = payload.readUInt32BE(offset + 2);
      for (const stream of this.streams.values()) {
        stream.sendWindow += window - this.peerInitialWindow;
      }
      this.peerInitialWindow = window;
    }
    this.write(rawFrame(FrameType.SETTINGS, Flag.ACK, 0));
    this.pump();
  }
}

export class RawStream {
  readonly peer: RawPeer;
  readonly id: number;
  sendWindow: number;
  headers: Fields | undefined;
  trailers: Fields | undefined;
  readonly messages: Buffer[] = [];
  /** Messages received, also when they are not kept. */
  count = 0;
  readonly end: Promise<StreamEnd>;
  isOver = false;
  /** A reset that came after the end of the stream's own answer. */
  lateReset: number | undefined;

  #resolveEnd!: (end: StreamEnd) => void;
  #parts: Buffer[] = [];
  #partBytes = 0;
  #unread = 0;
  #phase = 0;
  #queue: { bytes: Buffer; end: boolean; sent: () => void }[] = [];
  #messageWaiters: { count: number; resolve: () => void }[] = [];

  constructor(peer: RawPeer, id: number, sendWindow: number) {
    this.peer = peer;
    this.id = id;
    this.sendWindow = sendWindow;
    this.end = new Promise((resolve) => {
      this.#resolveEnd = resolve;
    });
  }

  /** DATA as it is given, whatever the windows say. */
  sendData(payload: Buffer, endStream = false): void {
    this.sendWindow -= payload.length;
    this.peer.sendWindow -= payload.length;
    this.peer.write(rawFrame(FrameType.DATA, endStream ? Flag.END_STREAM : 0, this.id, payload));
  }

  /** Sends bytes as the windows allow; resolves when the last are given to the socket. */
  send(bytes: Buffer, end = false): Promise<void> {
    return new Promise((resolve) => {
      this.#queue.push({ bytes, end, sent: resolve });
      if (!this.pump()) this.peer.waiting(this);
    });
  }

  sendMessage(message: Buffer, end = false): Promise<void> {
    return this.send(frame(message), end);
  }

  /**
   * Sends as much of `bytes`, over and over, as the windows admit now; returns how much. The next
   * call with the same bytes goes on where this one stopped.
   */
  sendAllItMay(bytes: Buffer): number {
    let sent = 0;
    for (;;) {
      const room = Math.min(this.sendWindow, this.peer.sendWindow);
      if (room <= 0) return sent;
      const piece = bytes.subarray(this.#phase, this.#phase + Math.min(room, 16_384));
      this.sendData(piece);
      sent += piece.length;
      this.#phase = (this.#phase + piece.length) % bytes.length;
    }
  }

  reset(code: number): void {
    this.peer.write(rawFrame(FrameType.RST_STREAM, 0, this.id, word(code)));
  }

  /** Resolves when that many messages came, or the stream is over. */
  async receivedMessages(count: number): Promise<void> {
    if (this.count >= count || this.isOver) return;
    await new Promise<void>((resolve) => this.#messageWaiters.push({ count, resolve }));
  }

  /** Sends what is queued as far as the windows go; returns whether nothing is left. */
  pump(): boolean {
    for (;;) {
      const next = this.#queue[0];
      if (next === undefined) return true;
      if (this.isOver) {
        for (const { sent } of this.#queue.splice(0)) sent();
        return true;
      }
      const room = Math.min(this.sendWindow, this.peer.sendWindow, 16_384);
      const piece = next.bytes.subarray(0, Math.max(room, 0));
      if (piece.length === 0 && next.bytes.length > 0) return false;
      const last = piece.length === next.bytes.length;
      this.sendData(piece, last && next.end);
      next.bytes = next.bytes.subarray(piece.length);
      if (last) {
        this.#queue.shift();
        next.sent();
      }
      if (this.peer.socket.writableNeedDrain) return this.#queue.length === 0;
    }
  }

  gotFields(fields: Fields, end: boolean): void {
    if (this.headers === undefined) this.headers = fields;
    if (end) {
      this.trailers = fields;
      this.ended();
    }
  }

  ended(): void {
    const find = (name: string) => this.trailers?.find((field) => field[0] === name)?.[1];
    const code = find('grpc-status');
    this.#over({
      code: code === undefined ? undefined : Number(code),
      message: decodeURIComponent(find('grpc-message') ?? ''),
      reset: undefined,
      connectionClosed: false,
    });
  }

  wasReset(code: number): void {
    if (this.isOver) this.lateReset = code;
    this.#over({ code: undefined, message: '', reset: code, connectionClosed: false });
  }

  connectionClosed(): void {
    this.#over({ code: undefined, message: '', reset: undefined, connectionClosed: true });
  }

  #over(end: StreamEnd): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#resolveEnd(end);
    for (const { resolve } of this.#messageWaiters.splice(0)) resolve();
    this.pump();
  }

  gotData(payload: Buffer): void {
    if (this.peer.keep) {
      this.#parts.push(payload);
      this.#partBytes += payload.length;
      this.#cutKept();
    } else {
      this.#cutCounted(payload);
    }
    for (const waiter of this.#messageWaiters.splice(0)) {
      if (this.count >= waiter.count) waiter.resolve();
      else this.#messageWaiters.push(waiter);
    }
  }

  #cutKept(): void {
    for (;;) {
      if (this.#partBytes < 5 || this.#partBytes < this.#unread) return;
      const bytes = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
      this.#parts = [bytes];
      const length = 5 + bytes.readUInt32BE(1);
      if (bytes.length < length) {
        this.#unread = length;
        return;
      }
      this.#unread = 0;
      this.messages.push(bytes.subarray(5, length));
      this.count++;
      this.#parts = [bytes.subarray(length)];
      this.#partBytes -= length;
    }
  }

  /** `#parts` holds the pieces of an incomplete prefix, `#unread` the rest of a message. */
  #cutCounted(payload: Buffer): void {
    let rest = payload;
    while (rest.length > 0 || this.#unread > 0) {
      if (this.#unread > 0) {
        const taken = Math.min(this.#unread, rest.length);
        this.#unread -= taken;
        rest = rest.subarray(taken);
        if (this.#unread > 0) return;
        this.count++;
        continue;
      }
      const prefix = Buffer.concat([...this.#parts, rest.subarray(0, 5 - this.#partBytes)]);
      rest = rest.subarray(5 - this.#partBytes);
      this.#parts = [prefix];
      this.#partBytes = prefix.length;
      if (prefix.length < 5) return;
      this.#parts = [];
      this.#partBytes = 0;
      this.#unread = prefix.readUInt32BE(1);
      if (this.#unread === 0) this.count++;
    }
  }
}
