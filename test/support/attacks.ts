// The attacks of docs/security/attacks.md as raw frames: what each sends, in pieces, until it is cut.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { encodeFields } from './hpack.js';
import { patience } from './patience.js';
import {
  Flag,
  FrameType,
  RawPeer,
  type RawPeerOptions,
  Reset,
  rawFrame,
  Setting,
  word,
} from './raw-peer.js';

const PRIORITY = 2;
const PUSH_PROMISE = 5;
const UNKNOWN = 0x42;
const WINDOW_MAX = 2 ** 31 - 1;
const CALM = Reset.ENHANCE_YOUR_CALM;
const PROTOCOL_ERROR = 1;
const FLOW_CONTROL_ERROR = 3;
const STREAM_CLOSED = 5;
const FRAME_SIZE_ERROR = 6;
const COMPRESSION_ERROR = 9;

export interface Attack {
  readonly name: string;
  /** The counter below `http2` in the statistics that rises by one with each connection cut. */
  readonly counter: string;
  /** The code of the GOAWAY. */
  readonly reason: number;
  /** In the GOAWAY and in the log line. */
  readonly message: RegExp;
  readonly peer?: RawPeerOptions;
  /** What comes first, if anything. */
  readonly begin?: (peer: RawPeer) => void;
  /** Sends some more of it; called again until the connection is cut. */
  readonly more: (peer: RawPeer) => void;
}

const REQUEST: [string, string][] = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/millrace.echo.v1.Echo/Chat'],
  [':authority', 'localhost'],
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
];

function settings(...entries: (readonly [id: number, value: number])[]): Buffer {
  const payload = entries.map(([id, value]) => Buffer.concat([Buffer.from([0, id]), word(value)]));
  return rawFrame(FrameType.SETTINGS, 0, 0, Buffer.concat(payload));
}

/** The same frame, a hundred times in one piece. */
function flood(frame: Buffer): (peer: RawPeer) => void {
  const piece = Buffer.concat(Array.from({ length: 100 }, () => frame));
  return (peer) => {
    peer.write(piece);
  };
}

function times(count: number, work: () => void): void {
  for (let index = 0; index < count; index++) work();
}

/** A call whose handler waits for its end, on the first stream. */
function open(peer: RawPeer): void {
  peer.request({ mode: 'never-ends' });
}

/** A block with one field of 4,000 bytes for the table, and then a byte for each use of it. */
function bomb(): Buffer {
  const field = encodeFields([['x', 'v'.repeat(4000)]]);
  field[0] = 0x40;
  return Buffer.concat([encodeFields(REQUEST), field, Buffer.alloc(2000, 0xbe)]);
}

/** MadeYouReset's primitives: what makes a careless server reset the stream it is sent on. */
const primitives: Attack[] = (
  [
    [
      'a WINDOW_UPDATE of 0',
      rawFrame(FrameType.WINDOW_UPDATE, 0, 1, word(0)),
      PROTOCOL_ERROR,
      /WINDOW_UPDATE of 0/,
    ],
    [
      'PRIORITY of a wrong length',
      rawFrame(PRIORITY, 0, 1, Buffer.alloc(4)),
      FRAME_SIZE_ERROR,
      /wrong length/,
    ],
    [
      'PRIORITY on itself',
      rawFrame(PRIORITY, 0, 1, Buffer.concat([word(1), Buffer.alloc(1)])),
      PROTOCOL_ERROR,
      /depends on itself/,
    ],
    [
      'HEADERS after the end',
      rawFrame(FrameType.HEADERS, Flag.END_HEADERS, 1, encodeFields(REQUEST)),
      STREAM_CLOSED,
      /HEADERS after the end/,
    ],
    [
      'DATA after the end',
      rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(1)),
      STREAM_CLOSED,
      /DATA after the end/,
    ],
  ] as const
).map(([name, frame, reason, message]) => ({
  name: `MadeYouReset by ${name} (CVE-2025-8671)`,
  counter: 'connectionErrors',
  reason,
  message,
  begin: (peer) => void peer.request({ mode: 'never-ends', endStream: true }),
  more: (peer) => void peer.write(frame),
}));

export const attacks: readonly Attack[] = [
  {
    name: 'Rapid Reset (CVE-2023-44487)',
    counter: 'rapidResets',
    reason: CALM,
    message: /Rapid Reset/,
    more: (peer) => times(100, () => peer.request({ mode: 'never-ends' }).reset(Reset.CANCEL)),
  },
  ...primitives,
  {
    name: 'MadeYouReset by a window too large (CVE-2025-8671)',
    counter: 'madeYouResets',
    reason: CALM,
    message: /MadeYouReset/,
    more: (peer) =>
      times(100, () => peer.credit(peer.request({ mode: 'never-ends' }).id, WINDOW_MAX)),
  },
  {
    name: 'header names of length 0 (CVE-2019-9516)',
    counter: 'madeYouResets',
    reason: CALM,
    message: /MadeYouReset/,
    more: (peer) => times(100, () => peer.request({ fields: [['', '']] })),
  },
  {
    name: 'a CONTINUATION flood (CVE-2024-27316)',
    counter: 'continuationFloods',
    reason: CALM,
    message: /CONTINUATION/,
    begin: (peer) => void peer.write(rawFrame(FrameType.HEADERS, 0, 1, encodeFields(REQUEST))),
    more: flood(rawFrame(FrameType.CONTINUATION, 0, 1, encodeFields([['x', 'y']]))),
  },
  {
    name: 'a flood of empty CONTINUATIONs (CVE-2026-33871)',
    counter: 'continuationFloods',
    reason: CALM,
    message: /CONTINUATION/,
    begin: (peer) => void peer.write(rawFrame(FrameType.HEADERS, 0, 1)),
    more: flood(rawFrame(FrameType.CONTINUATION, 0, 1)),
  },
  {
    name: 'a header block of many KiB',
    counter: 'headerBlocksCut',
    reason: CALM,
    message: /header block too large/,
    begin: (peer) => void peer.write(rawFrame(FrameType.HEADERS, 0, 1, encodeFields(REQUEST))),
    more: (peer) => void peer.write(rawFrame(FrameType.CONTINUATION, 0, 1, Buffer.alloc(16_384))),
  },
  {
    name: 'an HPACK bomb (CVE-2016-6581)',
    counter: 'hpackBombs',
    reason: CALM,
    message: /HPACK bomb/,
    more: (peer) => void peer.write(rawFrame(FrameType.HEADERS, Flag.END_HEADERS, 1, bomb())),
  },
  {
    name: 'an HPACK bomb of short fields (CVE-2026-49975)',
    counter: 'hpackBombs',
    reason: CALM,
    message: /HPACK bomb/,
    // ":method: GET" in a byte each: 42 bytes of accounting for every one.
    more: (peer) =>
      void peer.write(rawFrame(FrameType.HEADERS, Flag.END_HEADERS, 1, Buffer.alloc(16_000, 0x82))),
  },
  {
    name: 'a wrong Huffman code (CVE-2022-41723)',
    counter: 'compressionErrors',
    reason: COMPRESSION_ERROR,
    message: /Huffman/,
    more: (peer) =>
      void peer.write(
        rawFrame(
          FrameType.HEADERS,
          Flag.END_HEADERS,
          1,
          Buffer.concat([Buffer.from([0, 1, 0x78, 0x84]), Buffer.alloc(4, 0xff)]),
        ),
      ),
  },
  {
    name: 'a SETTINGS flood (CVE-2019-9515)',
    counter: 'settingsFloods',
    reason: CALM,
    message: /SETTINGS/,
    more: flood(settings()),
  },
  {
    name: 'changes of INITIAL_WINDOW_SIZE over and over',
    counter: 'settingsFloods',
    reason: CALM,
    message: /SETTINGS/,
    begin: (peer) => times(100, () => open(peer)),
    more: flood(settings([Setting.INITIAL_WINDOW_SIZE, 0], [Setting.INITIAL_WINDOW_SIZE, 65_535])),
  },
  {
    name: 'windows above the maximum by INITIAL_WINDOW_SIZE',
    counter: 'flowControlErrors',
    reason: FLOW_CONTROL_ERROR,
    message: /INITIAL_WINDOW_SIZE/,
    begin: (peer) => {
      open(peer);
      peer.credit(1, WINDOW_MAX - 65_535);
    },
    more: (peer) => void peer.write(settings([Setting.INITIAL_WINDOW_SIZE, 65_536])),
  },
  {
    name: 'MAX_FRAME_SIZE 0 (CVE-2026-33814)',
    counter: 'settingsInvalid',
    reason: PROTOCOL_ERROR,
    message: /MAX_FRAME_SIZE/,
    more: (peer) => void peer.write(settings([Setting.MAX_FRAME_SIZE, 0])),
  },
  {
    name: 'a PING flood (CVE-2019-9512)',
    counter: 'pingFloods',
    reason: CALM,
    message: /PING/,
    more: flood(rawFrame(FrameType.PING, 0, 0, Buffer.alloc(8))),
  },
  {
    name: 'a flood of empty DATA (CVE-2019-9518)',
    counter: 'emptyDataFloods',
    reason: CALM,
    message: /empty DATA/,
    begin: open,
    more: flood(rawFrame(FrameType.DATA, 0, 1)),
  },
  {
    name: 'a flood of DATA by the byte',
    counter: 'tinyDataFloods',
    reason: CALM,
    message: /tiny DATA/,
    begin: open,
    more: flood(rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(1))),
  },
  {
    name: 'a PRIORITY flood (CVE-2019-9513)',
    counter: 'priorityFloods',
    reason: CALM,
    message: /PRIORITY/,
    more: flood(rawFrame(PRIORITY, 0, 1, Buffer.alloc(5))),
  },
  {
    name: 'a flood of unknown frames',
    counter: 'ignoredFloods',
    reason: CALM,
    message: /without effect/,
    more: flood(rawFrame(UNKNOWN, 0, 0)),
  },
  {
    name: 'a WINDOW_UPDATE flood',
    counter: 'windowUpdateFloods',
    reason: CALM,
    message: /WINDOW_UPDATE/,
    more: flood(rawFrame(FrameType.WINDOW_UPDATE, 0, 0, word(1))),
  },
  {
    name: 'credit by the byte (CVE-2019-9511)',
    counter: 'windowUpdateFloods',
    reason: CALM,
    message: /WINDOW_UPDATE/,
    peer: { settings: [[Setting.INITIAL_WINDOW_SIZE, 0]], autoCredit: false },
    begin: (peer) => void peer.request({ mode: 'flood' }),
    more: (peer) => peer.credit(1, 1),
  },
  {
    name: 'streams beyond the limit',
    counter: 'refusedStreamFloods',
    reason: CALM,
    message: /MAX_CONCURRENT_STREAMS/,
    more: (peer) => times(100, () => open(peer)),
  },
  {
    name: 'a PUSH_PROMISE',
    counter: 'pushesRefused',
    reason: PROTOCOL_ERROR,
    message: /push/,
    more: (peer) =>
      void peer.write(
        rawFrame(PUSH_PROMISE, Flag.END_HEADERS, 1, Buffer.concat([word(2), Buffer.of(0x82)])),
      ),
  },
];

/** After this an attack that nobody has cut is given up. */
const GIVE_UP_MS = 20_000;

/** One connection's worth of the attack, until it is told to go away. Returns the closed peer. */
export async function run(attack: Attack, port: number): Promise<RawPeer> {
  const peer = await RawPeer.connect(port, { keep: false, ...attack.peer });
  try {
    attack.begin?.(peer);
    const end = performance.now() + patience(GIVE_UP_MS);
    while (peer.goAway === undefined && !peer.isClosed) {
      if (performance.now() > end) throw new Error(`${attack.name}: not cut`);
      attack.more(peer);
      // As fast as the server reads, and no faster.
      do await nextTurn();
      while (peer.socket.writableNeedDrain && peer.goAway === undefined && !peer.isClosed);
    }
    await peer.goingAway();
    return peer;
  } finally {
    await peer.close();
  }
}
