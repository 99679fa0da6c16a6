import {
  RECORD_CALL,
  RECORD_CANCEL,
  RECORD_END,
  RECORD_MESSAGE,
  RECORD_NONE,
  RECORD_REQUEST,
  RECORD_WRITABLE,
} from './layout.js';

/** What a batch says. `call` is a call reference; flags are those of layout.ts. */
export interface RecordSink {
  /** A call whose request is a stream. `left`: milliseconds until its deadline. */
  call(call: number, method: number, flags: number, left: number): void;
  /** A call with its only request message, to be decoded before this returns. */
  request(call: number, method: number, flags: number, left: number, slot: number): void;
  message(call: number, slot: number, last: boolean): void;
  end(call: number): void;
  cancel(call: number, cause: number, code: number): void;
  writable(call: number): void;
}

/** Reads a batch of records. `table` has four words for each: see layout.ts. */
export function readRecords(table: Uint32Array, count: number, sink: RecordSink): void {
  const words = count * 4;
  for (let at = 0; at < words; at += 4) {
    const head = table[at]!;
    const call = table[at + 1]!;
    switch (head & 0xff) {
      case RECORD_MESSAGE:
        sink.message(call, table[at + 2]!, (head & END_BIT) !== 0);
        break;
      case RECORD_REQUEST:
        sink.request(call, head >>> 16, (head >>> 8) & 0xff, table[at + 3]!, table[at + 2]!);
        break;
      case RECORD_CALL:
        sink.call(call, head >>> 16, (head >>> 8) & 0xff, table[at + 3]!);
        break;
      case RECORD_END:
        sink.end(call);
        break;
      case RECORD_WRITABLE:
        sink.writable(call);
        break;
      case RECORD_CANCEL:
        sink.cancel(call, (head >>> 8) & 0xff, table[at + 3]!);
        break;
      case RECORD_NONE:
        break;
      default:
        throw new Error(`record ${at / 4} of a batch is of unknown kind ${head & 0xff}`);
    }
  }
}

const END_BIT = 4 << 8;
