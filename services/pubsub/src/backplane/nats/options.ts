// The options of the NATS backplane, and what they are when they are left out.

import { OptionChecks } from '../../option-checks.js';

/** How much the stream of a space keeps. Where it is full, publishers are refused until events have aged. */
export interface NatsRetention {
  /** Events; 0: no bound of its own. Default 0. */
  readonly count?: number;
  /** Bytes on the server's disk, with subjects and headers; 0: no bound of its own. Default 1 GiB. */
  readonly bytes?: number;
  /**
   * Milliseconds after which an event is removed, acknowledged or not; 0: never. At least 100, the least
   * that nats-server takes, and at most ten years. Default 24 hours.
   */
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
   * fails with UNAVAILABLE. Subscribers and consumers that have begun stay for as long as it takes. At most
   * a day. Default 5,000.
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

const DAY_MS = 24 * 3_600_000;
/** The least age that nats-server takes. */
const AGE_LEAST_MS = 100;

const retentionRanges = {
  count: { default: 0, least: 0, most: Number.MAX_SAFE_INTEGER },
  bytes: { default: 2 ** 30, least: 0, most: Number.MAX_SAFE_INTEGER },
  ageMs: { default: DAY_MS, least: 0, most: 3650 * DAY_MS },
};
const replicasRange = { default: 1, least: 1, most: 5 };
const waitRange = { default: 5000, least: 0, most: DAY_MS };

const known = [
  'servers',
  'user',
  'password',
  'token',
  'connection',
  'retention',
  'replicas',
  'waitMs',
];

/** Options of the client's `connect` that are decided here: which ones of `nats` to use instead. */
const decided: Readonly<Record<string, string>> = {
  servers: 'give nats({ servers })',
  port: 'give nats({ servers })',
  user: 'give nats({ user })',
  pass: 'give nats({ password })',
  token: 'give nats({ token })',
  reconnect: 'the backplane reconnects by itself',
  timeout: 'the backplane decides it',
  pingInterval: 'the backplane decides it',
  maxPingOut: 'the backplane decides it',
};

const checks = new OptionChecks('nats()');

/** @throws MillraceError MILLRACE_OPTION_INVALID naming the option, what it is and what it has to be */
export function checkOptions(given: NatsOptions): Settings {
  const options = checks.object('its options', given, 'an object');
  checks.names('option', options, known);
  const retention = checks.ranged('retention', options['retention'], retentionRanges);
  const { ageMs } = retention;
  if (ageMs > 0 && ageMs < AGE_LEAST_MS) {
    checks.invalid(
      'retention.ageMs',
      ageMs,
      `0 for no bound, or at least ${AGE_LEAST_MS}, the least that nats-server takes`,
    );
  }
  return {
    servers: checkServers(options['servers']),
    ...checkCredentials(options),
    connection: checkConnection(options['connection']),
    retention,
    replicas: checks.inRange('replicas', options['replicas'], replicasRange),
    waitMs: checks.inRange('waitMs', options['waitMs'], waitRange),
  };
}

function checkServers(given: unknown = '127.0.0.1:4222'): string[] {
  const wanted = 'an address such as "127.0.0.1:4222", or several';
  const servers = typeof given === 'string' ? [given] : given;
  if (!Array.isArray(servers) || servers.length === 0) {
    return checks.invalid('servers', given, wanted);
  }
  return servers.map((server: unknown, index) => {
    const name = typeof given === 'string' ? 'servers' : `servers[${index}]`;
    if (typeof server !== 'string') return checks.invalid(name, server, wanted);
    const wrong = addressFault(server);
    // It may hold a password: not shown.
    if (wrong !== undefined) checks.refuse(`cannot use ${name}: ${wrong}; give ${wanted}`);
    return server;
  });
}

function addressFault(server: string): string | undefined {
  if (server === '' || /\s/.test(server)) return 'it is empty, or has white space';
  let url: URL;
  try {
    url = new URL(server.includes('://') ? server : `nats://${server}`);
  } catch {
    return 'it is no host with a port from 1 to 65535';
  }
  if (url.protocol !== 'nats:' && url.protocol !== 'tls:') {
    return `it begins with ${url.protocol}//, and only nats:// and tls:// are spoken here`;
  }
  if (url.username !== '' || url.password !== '') {
    return 'it holds a user or a password, which belong into the options user and password';
  }
  if (url.hostname === '' || url.port === '0') return 'it is no host with a port from 1 to 65535';
  if (!['', '/'].includes(url.pathname) || url.search !== '' || url.hash !== '') {
    return 'it has more than a host and a port';
  }
  return undefined;
}

/** Their values are not shown: an error may end up in a log. */
function checkCredentials(options: Readonly<Record<string, unknown>>) {
  const text = (name: string): string | undefined => {
    const value = options[name];
    if (value === undefined) return undefined;
    if (typeof value === 'string' && value !== '') return value;
    return checks.refuse(
      `takes a text for ${name}, not ${value === '' ? 'an empty one' : typeof value}; leave it out, or give what the server knows`,
    );
  };
  const [user, password, token] = [text('user'), text('password'), text('token')];
  if (user === undefined && password !== undefined) {
    checks.refuse('has a password without a user; give both');
  }
  if (token !== undefined && user !== undefined) {
    checks.refuse('has a token and a user; a server asks for one of them, leave the other out');
  }
  return { user, password, token };
}

function checkConnection(given: unknown): Readonly<Record<string, unknown>> {
  const connection = checks.object('connection', given, "an object of the client's options");
  for (const [name, instead] of Object.entries(decided)) {
    if (name in connection) checks.refuse(`has connection.${name}; leave it out: ${instead}`);
  }
  return connection;
}
