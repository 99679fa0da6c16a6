// A server of the Echo service that puts its answers on the wire frame by frame, so that a test can
// have it do what no HTTP/2 library would. It keeps to the client's windows.

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { frame } from './echo-wire.js';
import { encodeFields } from './hpack.js';
import { Flag, FrameType, PREFACE, rawFrame, Setting, word } from './raw-peer.js';

const WINDOW_DEFAULT = 65_535;

/** Answers a request that has come whole. */
export type Answer = (connection: NegativeConnection, stream: number) => void;

export interface NegativeServer {
  readonly port: number;
  readonly connections: NegativeConnection[];
}

/** Listens on a free port; stopped when the test is finished. */
export async function startNegative(
  answer: Answer,
  settings: readonly (readonly [id: number, value: number])[] = [],
): Promise<NegativeServer> {
  const connections: NegativeConnection[] = [];
  const server = createServer((socket) => {
    connections.push(new NegativeConnection(socket, answer, settings));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const { socket } of connections) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, connections };
}

/** The bytes of a reply whose data has this length, behind gRPC's prefix. */
export function reply(dataBytes: number): Buffer {
  const length: number[] = [];
  let rest = dataBytes;
  for (; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128);
  length.push(rest);
  return frame(Buffer.concat([Buffer.from([0x12, ...length]), Buffer.alloc(dataBytes, 7)]));
}

export class NegativeConnection {
  readonly socket: Socket;
  readonly #answer: Answer;
  /** Streams that are open, and how many were at most. */
  readonly open = new Set<number>();
  openMost = 0;
  /** Streams that the client has opened so far. */
  streams = 0;
  /** The code of the client's GOAWAY. */
  goAwayCode: number | undefined;
  /** Payloads of the PINGs that the client has acknowledged. */
  readonly pongs: string[] = [];
  #input = Buffer.alloc(0);
  #prefaced = false;
  #window = WINDOW_DEFAULT;
  #initialWindow = WINDOW_DEFAULT;
  readonly #streamWindows = new Map<number, number>();
  /** What waits for a window, in order. */
  #queue: { stream: number; bytes: Buffer; cost: number }[] = [];

  constructor(
    socket: Socket,
    answer: Answer,
    settings: readonly (readonly [id: number, value: number])[],
  ) {
    this.socket = socket;
    this.#answer = answer;
    socket.on('error', () => {});
    socket.on('data', (chunk) => this.#receive(chunk));
    const entries = settings.map(([id, value]) =>
      Buffer.concat([word(id).subarray(2), word(value)]),
    );
    this.send(FrameType.SETTINGS, 0, 0, Buffer.concat(entries));
  }

  /** Any frame but DATA, at once. */
  send(type: number, flags: number, stream: number, payload?: Uint8Array): void {
    this.socket.write(rawFrame(type, flags, stream, payload));
  }

  headers(stream: number): void {
    const fields = [
      [':status', '200'],
      ['content-type', 'application/grpc'],
    ] as const;
    this.send(FrameType.HEADERS, Flag.END_HEADERS, stream, encodeFields(fields));
  }

  /** A DATA frame, padded with so many bytes, when the windows admit it. */
  data(stream: number, bytes: Buffer, padding?: number): void {
    const payload =
      padding === undefined
        ? bytes
        : Buffer.concat([Buffer.from([padding]), bytes, Buffer.alloc(padding)]);
    const flags = padding === undefined ? 0 : Flag.PADDED;
    this.#later(stream, rawFrame(FrameType.DATA, flags, stream, payload), payload.length);
  }

  /** The status OK, behind the DATA. */
  trailers(stream: number): void {
    const block = encodeFields([['grpc-status', '0']]);
    const flags = Flag.END_HEADERS | Flag.END_STREAM;
    this.#later(stream, rawFrame(FrameType.HEADERS, flags, stream, block), 0);
  }

  /** A whole answer with so many bytes of data. */
  succeed(stream: number, dataBytes = 10): void {
    this.headers(stream);
    this.data(stream, reply(dataBytes));
    this.trailers(stream);
  }

  reset(stream: number, reason = 0): void {
    this.open.delete(stream);
    this.send(FrameType.RST_STREAM, 0, stream, word(reason));
  }

  goAway(last: number): void {
    this.send(FrameType.GOAWAY, 0, 0, Buffer.concat([word(last), word(0)]));
  }

  ping(text: string): void {
    this.send(FrameType.PING, 0, 0, Buffer.from(text.padEnd(8).slice(0, 8)));
  }

  #later(stream: number, bytes: Buffer, cost: number): void {
    this.#queue.push({ stream, bytes, cost });
    this.#drain();
  }

  #drain(): void {
    for (;;) {
      const next = this.#queue[0];
      if (next === undefined) return;
      const { stream, bytes, cost } = next;
      const window = this.#streamWindows.get(stream) ?? this.#initialWindow;
      if (cost > 0 && (cost > window || cost > this.#window)) return;
      this.#queue.shift();
      this.#window -= cost;
      this.#streamWindows.set(stream, window - cost);
      if (bytes[3] === FrameType.HEADERS) this.open.delete(stream);
      this.socket.write(bytes);
    }
  }

  #receive(chunk: Buffer): void {
    this.#input = Buffer.concat([this.#input, chunk]);
    if (!this.#prefaced) {
      if (this.#input.length < PREFACE.length) return;
      this.#input = this.#input.subarray(PREFACE.length);
      this.#prefaced = true;
    }
    while (this.#input.length >= 9) {
      const length = this.#input.readUIntBE(0, 3);
      if (this.#input.length < 9 + length) return;
      const [type = 0, flags = 0] = [this.#input[3], this.#input[4]];
      const stream = this.#input.readUInt32BE(5) & 0x7fffffff;
      const payload = this.#input.subarray(9, 9 + length);
      this.#input = this.#input.subarray(9 + length);
      this.#frame(type, flags, stream, payload);
    }
  }

  #frame(type: number, flags: number, stream: number, payload: Buffer): void {
    if (type === FrameType.SETTINGS && (flags & Flag.ACK) === 0) {
      for (let at = 0; at < payload.length; at += 6) {
        if (payload.readUInt16BE(at) === Setting.INITIAL_WINDOW_SIZE) {
          this.#initialWindow = payload.readUInt32BE(at + 2);
        }
      }
      this.send(FrameType.SETTINGS, Flag.ACK, 0);
    } else if (type === FrameType.PING) {
      if ((flags & Flag.ACK) !== 0) this.pongs.push(payload.toString());
      else this.send(FrameType.PING, Flag.ACK, 0, payload);
    } else if (type === FrameType.WINDOW_UPDATE) {
      const more = payload.readUInt32BE();
      if (stream === 0) this.#window += more;
      else {
        const window = this.#streamWindows.get(stream) ?? this.#initialWindow;
        this.#streamWindows.set(stream, window + more);
      }
      this.#drain();
    } else if (type === FrameType.HEADERS) {
      this.open.add(stream);
      this.streams++;
      this.openMost = Math.max(this.openMost, this.open.size);
      if ((flags & Flag.END_STREAM) !== 0) this.#answer(this, stream);
    } else if (type === FrameType.DATA && (flags & Flag.END_STREAM) !== 0) {
      this.#answer(this, stream);
    } else if (type === FrameType.GOAWAY) {
      this.goAwayCode = payload.readUInt32BE(4);
    } else if (type === FrameType.RST_STREAM) {
      this.open.delete(stream);
      this.#queue = this.#queue.filter((waiting) => waiting.stream !== stream);
    }
  }
}
