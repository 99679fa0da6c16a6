// The options of the NATS backplane, and what they are when they are left out.

/** How much the stream of a space keeps. Where it is full, publishers are refused until events have aged. */
export interface NatsRetention {
  /** Events; 0: no bound of its own. Default 0. */
  readonly count?: number;
  /** Bytes on the server's disk, with subjects and headers; 0: no bound of its own. Default 1 GiB. */
  readonly bytes?: number;
  /** Milliseconds after which an event is removed, acknowledged or not; 0: never. Default 24 hours. */
  readonly ageMs?: number;
}

/** What {@link nats} takes. */
export interface NatsOptions {
  /** `host:port` or `nats://host:port`; several for a cluster. Default `127.0.0.1:4222`. */
  readonly servers?: string | readonly string[];
  /** For a server that asks for a name and a password. */
  readonly user?: string;
  /** That of `user`. */
  readonly password?: string;
  /** For a server that asks for a token. */
  readonly token?: string;
  /**
   * Anything else that the client's `connect` takes, such as `tls` and `authenticator`. How it
   * reconnects is decided here.
   */
  readonly connection?: Readonly<Record<string, unknown>>;
  /** The bounds of the space's stream, if it does not exist yet. */
  readonly retention?: NatsRetention;
  /** Copies of the stream in a cluster, 1 to 5. Default 1. */
  readonly replicas?: number;
  /**
   * For how long a call waits while NATS cannot be reached, if its deadline is not earlier; then it
   * fails with UNAVAILABLE. Default 5,000.
   */
  readonly waitMs?: number;
}

/** The same, complete and checked. */
export interface Settings {
  readonly servers: readonly string[];
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly token: string | undefined;
  readonly connection: Readonly<Record<string, unknown>>;
  readonly retention: Required<NatsRetention>;
  readonly replicas: number;
  readonly waitMs: number;
}

/** @throws TypeError, RangeError naming the option and what it may be */
export function checkOptions(options: NatsOptions): Settings {
  const servers =
    options.servers === undefined
      ? ['127.0.0.1:4222']
      : typeof options.servers === 'string'
        ? [options.servers]
        : [...options.servers];
  if (servers.length === 0 || servers.some((each) => typeof each !== 'string' || each === '')) {
    throw new TypeError('nats({ servers }) takes an address such as "127.0.0.1:4222", or several');
  }
  const { count = 0, bytes = 2 ** 30, ageMs = 24 * 3_600_000 } = options.retention ?? {};
  return {
    servers,
    user: options.user,
    password: options.password,
    token: options.token,
    connection: options.connection ?? {},
    retention: {
      count: whole('retention.count', count, 0),
      bytes: whole('retention.bytes', bytes, 0),
      ageMs: whole('retention.ageMs', ageMs, 0),
    },
    replicas: whole('replicas', options.replicas ?? 1, 1, 5),
    waitMs: whole('waitMs', options.waitMs ?? 5000, 0),
  };
}

function whole(name: string, value: number, least: number, most = Number.MAX_SAFE_INTEGER): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw new RangeError(
    `nats({ ${name} }) takes a whole number from ${least}${most < Number.MAX_SAFE_INTEGER ? ` to ${most}` : ''}, not ${value}`,
  );
}
