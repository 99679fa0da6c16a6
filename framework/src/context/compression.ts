import { MillraceError } from '../errors.js';

/** How messages may be packed: `deflate` is the zlib format (RFC 1950), as gRPC has it. */
export type Encoding = 'identity' | 'gzip' | 'deflate';

/** The encodings as native code numbers them. */
export const encodingNumbers: Readonly<Record<Encoding, number>> = {
  identity: 0,
  gzip: 1,
  deflate: 2,
};

/** What a handler knows and decides about the compression of its call. */
export interface CallCompression {
  /** Whether the request message that the handler was given last came compressed. */
  readonly received: boolean;
  /**
   * How replies are compressed; at first as `serve({ compression })` says. Decides until the response
   * headers leave, later changes have no effect. A client that does not take the encoding gets plain
   * messages.
   */
  encoding: Encoding;
  /** Whether the messages written from now on are compressed. A message that would grow never is. */
  enabled: boolean;
}

/** What this needs of its call. */
export interface CompressionHost {
  readonly messageCompressed: boolean;
  setCompression(encoding: number, enabled: boolean): void;
}

/** Made when a handler first asks for it. */
export class Compression implements CallCompression {
  readonly #host: CompressionHost;
  #encoding: Encoding;
  #enabled = true;

  constructor(host: CompressionHost, encoding: Encoding) {
    this.#host = host;
    this.#encoding = encoding;
  }

  get received(): boolean {
    return this.#host.messageCompressed;
  }

  get encoding(): Encoding {
    return this.#encoding;
  }

  /** @throws MillraceError MILLRACE_OPTION_INVALID */
  set encoding(encoding: Encoding) {
    this.#encoding = checkEncoding('ctx.compression.encoding', encoding);
    this.#say();
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  set enabled(enabled: boolean) {
    this.#enabled = enabled;
    this.#say();
  }

  #say(): void {
    this.#host.setCompression(encodingNumbers[this.#encoding], this.#enabled);
  }
}

/** @throws MillraceError MILLRACE_OPTION_INVALID */
export function checkEncoding(name: string, value: unknown): Encoding {
  if (typeof value !== 'string' || !Object.hasOwn(encodingNumbers, value)) {
    throw new MillraceError(
      'MILLRACE_OPTION_INVALID',
      `${name} is ${JSON.stringify(value) ?? String(value)}, but has to be identity, gzip or deflate`,
    );
  }
  return value as Encoding;
}
