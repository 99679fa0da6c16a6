import { inspect } from 'node:util';
import { MillraceError } from '../errors.js';
import { describe, refusalOfName } from './metadata-names.js';

/** A value: text, or bytes where the name ends in `-bin`. */
export type MetadataValue = string | Uint8Array;

/** The values of a name: bytes if it ends in `-bin`, text otherwise; either if only run time knows. */
export type MetadataValueOf<Name extends string> = string extends Name
  ? MetadataValue
  : Lowercase<Name> extends `${string}-bin`
    ? Uint8Array
    : string;

/**
 * What metadata can be made of: metadata, pairs, or an object whose properties have one value or
 * several; those that are `undefined` are left out.
 */
export type MetadataInit =
  | Metadata
  | Iterable<readonly [name: string, value: MetadataValue]>
  | MetadataObject;

/** Names with one value or several. */
export interface MetadataObject {
  readonly [name: `${string}-bin`]: Uint8Array | readonly Uint8Array[] | undefined;
  readonly [name: string]: MetadataValue | readonly MetadataValue[] | undefined;
}

const illegal = /[^\x20-\x7e]/u;

/**
 * The custom headers or trailers of a call: names in lower case, each with one or more values, in
 * order. Values of names that end in `-bin` are bytes, all others printable ASCII, without spaces
 * around them.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md (Custom-Metadata)
 */
export class Metadata implements Iterable<[name: string, value: MetadataValue]> {
  /** Names and values in turn. */
  readonly #flat: MetadataValue[] = [];

  /** A copy, or metadata of pairs or an object. @throws MillraceError MILLRACE_METADATA_INVALID */
  static from(init: MetadataInit): Metadata {
    return new Metadata().merge(init);
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

  /** Whether a name has a value. */
  has(name: string): boolean {
    return this.#find(name.toLowerCase()) >= 0;
  }

  /** The first value of a name. */
  get<Name extends string>(name: Name): MetadataValueOf<Name> | undefined {
    const at = this.#find(name.toLowerCase());
    return at < 0 ? undefined : (this.#flat[at + 1] as MetadataValueOf<Name>);
  }

  /** All values of a name, in order. */
  getAll<Name extends string>(name: Name): MetadataValueOf<Name>[] {
    const lower = name.toLowerCase();
    return this.#flat.filter(
      (_, index) => index % 2 === 1 && this.#flat[index - 1] === lower,
    ) as MetadataValueOf<Name>[];
  }

  /** The names, each once, in the order in which they first occur. */
  keys(): IterableIterator<string> {
    return new Set(this.#flat.filter((_, index) => index % 2 === 0) as string[]).values();
  }

  /** Adds a value. @throws MillraceError MILLRACE_METADATA_INVALID */
  append<Name extends string>(name: Name, value: MetadataValueOf<Name>): this {
    const lower = checkName(name);
    this.#flat.push(lower, checkValue(lower, value));
    return this;
  }

  /** Replaces all values of a name. @throws MillraceError MILLRACE_METADATA_INVALID */
  set<Name extends string>(name: Name, value: MetadataValueOf<Name>): this {
    const lower = checkName(name);
    const checked = checkValue(lower, value);
    this.delete(lower);
    this.#flat.push(lower, checked);
    return this;
  }

  /** Adds all values of the other, behind those that are here. @throws as `append` */
  merge(other: MetadataInit): this {
    if (other instanceof Metadata) {
      // Checked when it was made.
      this.#flat.push(...other.#flat);
      return this;
    }
    if (Symbol.iterator in other) {
      for (const [name, value] of other as Iterable<readonly [string, MetadataValue]>) {
        this.append(name, value);
      }
      return this;
    }
    for (const [name, value] of Object.entries(other)) {
      if (Array.isArray(value)) for (const one of value) this.append(name, one);
      else if (value !== undefined) this.append(name, value as MetadataValue);
    }
    return this;
  }

  /** Removes all values of a name; whether there were any. */
  delete(name: string): boolean {
    const lower = name.toLowerCase();
    let found = false;
    for (let at = this.#find(lower); at >= 0; at = this.#find(lower)) {
      this.#flat.splice(at, 2);
      found = true;
    }
    return found;
  }

  /** A copy that shares nothing, bytes included. */
  clone(): Metadata {
    return Metadata.received(
      this.#flat.map((value) => (typeof value === 'string' ? value : new Uint8Array(value))),
    );
  }

  /** All values with their names, in order. */
  *[Symbol.iterator](): Generator<[name: string, value: MetadataValue]> {
    for (let at = 0; at < this.#flat.length; at += 2) {
      yield [this.#flat[at] as string, this.#flat[at + 1]!];
    }
  }

  /** Names with all of their values, bytes in base64. */
  toJSON(): Record<string, string[]> {
    const text = (value: MetadataValue) =>
      typeof value === 'string' ? value : Buffer.from(value).toString('base64');
    return Object.fromEntries([...this.keys()].map((name) => [name, this.getAll(name).map(text)]));
  }

  /** As `console.log` shows it. @internal */
  [inspect.custom](): Record<string, string[]> {
    return this.toJSON();
  }

  #find(name: string): number {
    for (let at = 0; at < this.#flat.length; at += 2) {
      if (this.#flat[at] === name) return at;
    }
    return -1;
  }
}

/** The name in lower case. */
function checkName(name: string): string {
  if (typeof name !== 'string') throw invalid(`a name is ${shown(name)}, not text`);
  const lower = name.toLowerCase();
  const refusal = refusalOfName(lower);
  if (refusal !== undefined) throw invalid(refusal);
  return lower;
}

/** The value as it is sent. */
function checkValue(name: string, value: MetadataValue): MetadataValue {
  if (name.endsWith('-bin')) {
    if (value instanceof Uint8Array) return value;
    throw invalid(`the value of "${name}" is ${shown(value)}, not a Uint8Array`);
  }
  if (typeof value !== 'string') {
    throw invalid(`the value of "${name}" is ${shown(value)}, not text`);
  }
  const found = illegal.exec(value);
  if (found !== null) throw invalid(`the value of "${name}" has an illegal ${describe(found[0])}`);
  // HTTP/2 forbids spaces around a value (RFC 9113, section 8.2.1): the peer would not see them.
  return value.trim();
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (value instanceof Uint8Array) return 'a Uint8Array';
  return typeof value === 'string' ? 'text' : `of type ${typeof value}`;
}

function invalid(what: string): MillraceError {
  return new MillraceError('MILLRACE_METADATA_INVALID', `metadata: ${what}`);
}
