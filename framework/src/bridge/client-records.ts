import {
  RECORD_MESSAGE,
  RECORD_REPLY,
  RECORD_RESPONSE,
  RECORD_STATUS,
  RECORD_WRITABLE,
} from './layout.js';

/** What a batch says to a client. `call` is a call reference; flags and bits are those of layout.ts. */
export interface ClientRecordSink {
  /** The response headers have arrived. */
  response(call: number, flags: number): void;
  message(call: number, slot: number): void;
  /** The only response message, with OK: to be decoded before this returns. Ends the call. */
  reply(call: number, flags: number, slot: number, bits: number): void;
  /** The end of a call. */
  status(call: number, code: number, bits: number): void;
  writable(call: number): void;
}

/** Reads a batch of a client's records. `table` has four words for each: see layout.ts. */
export function readClientRecords(table: Uint32Array, count: number, sink: ClientRecordSink): void {
  const words = count * 4;
  for (let at = 0; at < words; at += 4) {
    const head = table[at]!;
    const call = table[at + 1]!;
    switch (head & 0xff) {
      case RECORD_REPLY:
        sink.reply(call, (head >>> 8) & 0xff, table[at + 2]!, table[at + 3]!);
        break;
      case RECORD_MESSAGE:
        sink.message(call, table[at + 2]!);
        break;
      case RECORD_RESPONSE:
        sink.response(call, (head >>> 8) & 0xff);
        break;
      case RECORD_STATUS:
        sink.status(call, table[at + 3]! & 0xff, table[at + 3]!);
        break;
      case RECORD_WRITABLE:
        sink.writable(call);
        break;
      default:
        throw new Error(`record ${at / 4} of a client's batch is of unknown kind ${head & 0xff}`);
    }
  }
}
