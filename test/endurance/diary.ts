// What a consumer writes down before it does it, so that it is known of one that was killed, too: records
// of a fixed size, appended to a file.

import { closeSync, openSync, readSync, writeSync } from 'node:fs';

export const Kind = {
  /** A stream of Consume has begun; instead of an event: with the server on which port. */
  OPENED: 1,
  /** An event was delivered. */
  DELIVERED: 2,
  /** An event is about to be acknowledged. */
  ACKNOWLEDGING: 3,
  /** The stream is over. */
  CLOSED: 4,
} as const;

export type Kind = (typeof Kind)[keyof typeof Kind];

export interface Entry {
  readonly kind: Kind;
  readonly attempt: number;
  /** Which event; 0 where it is about none. */
  readonly event: number;
  readonly sequence: number;
  /** Milliseconds since 1970. */
  readonly time: number;
}

const BYTES = 28;
const READ_RECORDS = 4096;

export class DiaryWriter {
  readonly #file: number;
  readonly #record = Buffer.alloc(BYTES);

  constructor(path: string) {
    this.#file = openSync(path, 'a');
  }

  write(kind: Kind, event = 0, sequence = 0, attempt = 0): void {
    const record = this.#record;
    record.writeUInt8(kind, 0);
    record.writeUInt32LE(attempt, 4);
    record.writeUInt32LE(event, 8);
    record.writeDoubleLE(sequence, 12);
    record.writeDoubleLE(Date.now(), 20);
    writeSync(this.#file, record);
  }
}

export class DiaryReader {
  readonly #file: number;
  readonly #buffer = Buffer.alloc(BYTES * READ_RECORDS);
  #position = 0;

  constructor(path: string) {
    this.#file = openSync(path, 'a+');
  }

  /** Everything that has been written since. */
  *read(): Iterable<Entry> {
    for (;;) {
      const bytes = readSync(this.#file, this.#buffer, 0, this.#buffer.length, this.#position);
      const whole = bytes - (bytes % BYTES);
      if (whole === 0) return;
      this.#position += whole;
      for (let at = 0; at < whole; at += BYTES) {
        yield {
          kind: this.#buffer.readUInt8(at) as Kind,
          attempt: this.#buffer.readUInt32LE(at + 4),
          event: this.#buffer.readUInt32LE(at + 8),
          sequence: this.#buffer.readDoubleLE(at + 12),
          time: this.#buffer.readDoubleLE(at + 20),
        };
      }
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}
