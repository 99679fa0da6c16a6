import type { Encoding } from '../context/compression.js';

/** What the caller of a method knows and decides about the compression of a call, as a handler does. */
export interface ClientCallCompression {
  /** Whether the response message that the caller was given last came compressed. */
  readonly received: boolean;
  /** How requests are compressed: the option `compression` of the call, its client or its connection. */
  readonly encoding: Encoding;
  /**
   * Whether the requests written from now on are compressed, where there is an encoding. A message
   * that would grow never is.
   */
  enabled: boolean;
}

/** What this needs of its call. */
export interface ClientCompressionHost {
  readonly encoding: Encoding;
  readonly messageCompressed: boolean;
  packs: boolean;
}

/** Made when a caller first asks for it. */
export class ClientCompression implements ClientCallCompression {
  readonly #host: ClientCompressionHost;

  constructor(host: ClientCompressionHost) {
    this.#host = host;
  }

  get received(): boolean {
    return this.#host.messageCompressed;
  }

  get encoding(): Encoding {
    return this.#host.encoding;
  }

  get enabled(): boolean {
    return this.#host.packs;
  }

  set enabled(enabled: boolean) {
    this.#host.packs = enabled;
  }
}
