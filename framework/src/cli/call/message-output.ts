import { once } from 'node:events';
import { type JsonValue, message, type Reader, type Writer } from '../../codec/index.js';
import type { Contract, DynamicType } from '../descriptors/contract.js';
import { unknownTypesIn } from './any-types.js';

/** The JSON form of a message; what travels in a google.protobuf.Any is looked up first. */
export async function jsonOf(
  contract: Contract,
  type: DynamicType,
  received: Record<string, unknown>,
): Promise<JsonValue> {
  for (;;) {
    // Each may hold others.
    const unknown = new Set(unknownTypesIn(type, received));
    if (unknown.size === 0) return type.toJson(received);
    for (const name of unknown) {
      if (await isKnown(contract, name)) contract.type(name);
      else opaqueType(name);
    }
  }
}

async function isKnown(contract: Contract, name: string): Promise<boolean> {
  try {
    return (await contract.load(name)) && contract.message(name) !== undefined;
  } catch {
    // The contract can no longer be asked; the message is there and has to be shown.
    return false;
  }
}

/** A type that nobody describes: its JSON form is the base64 of its bytes. */
function opaqueType(typeName: string): void {
  message<{ bytes: Uint8Array }, { bytes: Uint8Array }>({
    typeName,
    fields: () => [],
    encode(_: { bytes: Uint8Array }, __: Writer) {},
    decode(reader: Reader, length: number) {
      const bytes = reader.bytes.slice(reader.pos, reader.pos + length);
      reader.pos += length;
      return { bytes };
    },
    json: {
      toJson: ({ bytes }) => Buffer.from(bytes).toString('base64'),
      fromJson: (json) => ({ bytes: Buffer.from(String(json), 'base64') }),
    },
  });
}

const FLUSH_LENGTH = 64 * 1024;

/**
 * Lines for standard output, in one write per turn of the event loop: as they come, but without a
 * system call for each.
 */
export class LineOutput {
  #lines = '';
  #scheduled = false;
  readonly #stream: NodeJS.WritableStream;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  /** Resolves when another line may be written: who reads slowly is not overrun. */
  async write(line: string): Promise<void> {
    this.#lines += `${line}\n`;
    if (this.#lines.length >= FLUSH_LENGTH) {
      await this.flush();
      return;
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#send();
    });
    if (this.#isFull) await once(this.#stream, 'drain');
  }

  async flush(): Promise<void> {
    this.#send();
    if (this.#isFull) await once(this.#stream, 'drain');
  }

  get #isFull(): boolean {
    return (this.#stream as NodeJS.WriteStream).writableNeedDrain;
  }

  #send(): void {
    const lines = this.#lines;
    this.#lines = '';
    if (lines !== '') this.#stream.write(lines);
  }
}
