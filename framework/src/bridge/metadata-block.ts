import { Metadata, type MetadataValue } from '../context/metadata.js';

/**
 * The form in which metadata crosses to native code and back, little-endian: u32 count; per entry
 * u32 length of the name, u32 length of the value, name, value. Values of `-bin` names are raw bytes.
 */
export function decodeMetadata(block: Uint8Array): Metadata {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const flat: MetadataValue[] = [];
  let at = 4;
  for (let count = view.getUint32(0, true); count > 0; count--) {
    const nameLength = view.getUint32(at, true);
    const valueLength = view.getUint32(at + 4, true);
    at += 8;
    const name = text(block, at, nameLength);
    at += nameLength;
    flat.push(
      name,
      name.endsWith('-bin') ? copy(block, at, valueLength) : text(block, at, valueLength),
    );
    at += valueLength;
  }
  return Metadata.received(flat);
}

/** The block of some metadata. */
export function encodeMetadata(metadata: Iterable<readonly [string, MetadataValue]>): Buffer {
  const parts: Buffer[] = [];
  let count = 0;
  for (const [name, value] of metadata) {
    const head = Buffer.alloc(8);
    const nameBytes = Buffer.from(name, 'latin1');
    const valueBytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
    head.writeUInt32LE(nameBytes.length, 0);
    head.writeUInt32LE(valueBytes.length, 4);
    parts.push(head, nameBytes, Buffer.from(valueBytes));
    count++;
  }
  const total = Buffer.alloc(4);
  total.writeUInt32LE(count, 0);
  return Buffer.concat([total, ...parts]);
}

/** The block of a STATUS operation: u32 length of the message, message in UTF-8, metadata block. */
export function encodeStatus(
  message: string,
  trailers: Iterable<readonly [string, MetadataValue]>,
): Buffer {
  const text = Buffer.from(message, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length, 0);
  return Buffer.concat([length, text, encodeMetadata(trailers)]);
}

/** What a status block says; see {@link encodeStatus}. */
export function decodeStatus(block: Uint8Array): { message: string; trailers: Metadata } {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const length = view.getUint32(0, true);
  return {
    message: Buffer.from(block.buffer, block.byteOffset + 4, length).toString('utf8'),
    trailers: decodeMetadata(block.subarray(4 + length)),
  };
}

function text(block: Uint8Array, at: number, length: number): string {
  return Buffer.from(block.buffer, block.byteOffset + at, length).toString('latin1');
}

/** Not `slice`, which is a view where the block is a Buffer. */
function copy(block: Uint8Array, at: number, length: number): Uint8Array {
  return new Uint8Array(block.subarray(at, at + length));
}
