import { MillraceError } from '../errors.js';

/** A value: text, or bytes where the name ends in `-bin`. */
export type MetadataValue = string | Uint8Array;

/** What metadata can be made of. */
export type MetadataInit =
  | Metadata
  | Iterable<readonly [name: string, value: MetadataValue]>
  | { readonly [name: string]: MetadataValue | readonly MetadataValue[] };

const legalName = /^[0-9a-z_.-]+$/;
const legalValue = /^[\x20-\x7e]*$/;

/**
 * The custom headers or trailers of a call: names in lower case, each with one or more values, in
 * order. Values of names that end in `-bin` are bytes, all others printable ASCII.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md (Custom-Metadata)
 */
export class Metadata implements Iterable<[name: string, value: MetadataValue]> {
  /** Names and values in turn. */
  readonly #flat: MetadataValue[] = [];

  static from(init: MetadataInit): Metadata {
    const metadata = new Metadata();
    if (init instanceof Metadata) {
      // Checked when it was made.
      metadata.#flat.push(...init.#flat);
      return metadata;
    }
    if (Symbol.iterator in init) {
      for (const [name, value] of init as Iterable<readonly [string, MetadataValue]>) {
        metadata.append(name, value);
      }
      return metadata;
    }
    for (const [name, value] of Object.entries(init)) {
      if (Array.isArray(value)) for (const one of value) metadata.append(name, one);
      else metadata.append(name, value as MetadataValue);
    }
    return metadata;
  }

  /** Metadata as it came from a peer: the native core has checked it. */
  static received(flat: MetadataValue[]): Metadata {
    const metadata = new Metadata();
    metadata.#flat.push(...flat);
    return metadata;
  }

  /** How many values there are, over all names. */
  get size(): number {
    return this.#flat.length / 2;
  }

  has(name: string): boolean {
    return this.#find(name.toLowerCase()) >= 0;
  }

  /** The first value of a name. */
  get(name: `${string}-bin`): Uint8Array | undefined;
  get(name: string): string | undefined;
  get(name: string): MetadataValue | undefined {
    const at = this.#find(name.toLowerCase());
    return at < 0 ? undefined : this.#flat[at + 1];
  }

  /** All values of a name, in order. */
  getAll(name: `${string}-bin`): Uint8Array[];
  getAll(name: string): string[];
  getAll(name: string): MetadataValue[] {
    const lower = name.toLowerCase();
    return this.#flat.filter((_, index) => index % 2 === 1 && this.#flat[index - 1] === lower);
  }

  /** Adds a value. @throws MillraceError MILLRACE_METADATA_INVALID */
  append(name: string, value: MetadataValue): this {
    const lower = name.toLowerCase();
    check(lower, value);
    this.#flat.push(lower, value);
    return this;
  }

  /** Replaces all values of a name. @throws MillraceError MILLRACE_METADATA_INVALID */
  set(name: string, value: MetadataValue): this {
    const lower = name.toLowerCase();
    check(lower, value);
    this.delete(lower);
    this.#flat.push(lower, value);
    return this;
  }

  delete(name: string): boolean {
    const lower = name.toLowerCase();
    let found = false;
    for (let at = this.#find(lower); at >= 0; at = this.#find(lower)) {
      this.#flat.splice(at, 2);
      found = true;
    }
    return found;
  }

  *[Symbol.iterator](): Generator<[name: string, value: MetadataValue]> {
    for (let at = 0; at < this.#flat.length; at += 2) {
      yield [this.#flat[at] as string, this.#flat[at + 1]!];
    }
  }

  #find(name: string): number {
    for (let at = 0; at < this.#flat.length; at += 2) {
      if (this.#flat[at] === name) return at;
    }
    return -1;
  }
}

function check(name: string, value: MetadataValue): void {
  if (!legalName.test(name) || name.startsWith('grpc-')) {
    throw new MillraceError('MILLRACE_METADATA_INVALID', `"${name}" is no name for metadata`);
  }
  if (name.endsWith('-bin')) {
    if (!(value instanceof Uint8Array)) {
      throw new MillraceError('MILLRACE_METADATA_INVALID', `"${name}" takes bytes, not text`);
    }
  } else if (typeof value !== 'string' || !legalValue.test(value)) {
    throw new MillraceError(
      'MILLRACE_METADATA_INVALID',
      `the value of "${name}" is not printable ASCII`,
    );
  }
}
