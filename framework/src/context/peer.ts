/** Who a client is, by the certificate that it presented and that was verified. */
export interface PeerIdentity {
  /** The distinguished name, `CN=billing, O=Example`; may be empty. */
  readonly subject: string;
  /** The distinguished name of the authority that signed it. */
  readonly issuer: string;
  /** Hexadecimal digits. */
  readonly serialNumber: string;
  /** SHA-256 of the certificate: `AB:CD:…`, as Node.js writes it. */
  readonly fingerprint256: string;
  /** The names of the subjectAltName extension, by kind. */
  readonly dnsNames: readonly string[];
  /** `spiffe://example.org/billing` */
  readonly uris: readonly string[];
  /** `billing@example.org` */
  readonly emails: readonly string[];
  /** `10.0.0.7`, `::1` */
  readonly ipAddresses: readonly string[];
  /** The certificate is not valid before. */
  readonly validFrom: Date;
  /** The certificate is not valid after; connections that exist then go on. */
  readonly validTo: Date;
}

/** The other end of a call's connection. In a string it is its address. */
export interface Peer {
  /** `127.0.0.1:50123`, `[::1]:50123`; `unknown` once the call is over and nobody has asked before. */
  readonly address: string;
  /**
   * `undefined` without TLS, and for clients without a certificate. Asked for while the call runs, it
   * stays.
   */
  readonly identity: PeerIdentity | undefined;
  /** The address. */
  toString(): string;
}

/** What a peer is asked from. */
export interface PeerPort {
  peer(call: number): string | undefined;
  peerIdentity(call: number): PeerIdentity | undefined;
}

/** The peer of a call; everything is fetched when it is first asked for. */
export class CallPeer implements Peer {
  readonly #port: () => PeerPort | undefined;
  readonly #call: number;
  #address: string | undefined;
  #identity: PeerIdentity | undefined;

  /** @param port gives nothing once the engine is closed */
  constructor(port: () => PeerPort | undefined, call: number) {
    this.#port = port;
    this.#call = call;
  }

  get address(): string {
    this.#address ??= this.#port()?.peer(this.#call);
    return this.#address ?? 'unknown';
  }

  get identity(): PeerIdentity | undefined {
    this.#identity ??= this.#port()?.peerIdentity(this.#call);
    return this.#identity;
  }

  toString(): string {
    return this.address;
  }

  /** For logs, where a peer is its address. */
  toJSON(): string {
    return this.address;
  }
}
