import type { Logger } from 'pino';
import { checkEncoding, type Encoding } from '../context/compression.js';
import { MillraceError } from '../errors.js';
import { checkInterceptors } from '../interceptors/compose.js';
import type { Interceptor } from '../interceptors/interceptor.js';
import { checkLimits, checkNumber, type Limits } from '../limits.js';
import { createLogger, type LogLevel } from '../logging/logger.js';
import { type AttachedServices, isAttached } from '../service/attached.js';
import { isService, type Service } from '../service/service.js';
import { checkDescriptor, checkEndpoint, type Endpoint } from './endpoint.js';
import {
  checkHttp2,
  checkKeepalive,
  type Http2Options,
  type KeepaliveOptions,
} from './protocol-limits.js';
import { checkTls, type TlsOptions } from './tls.js';

/** The I/O drivers, best first; `auto` takes the best that this machine admits. */
export type DriverName = 'auto' | 'bundle' | 'ring' | 'classic' | 'portable';

/** What `serve` takes. */
export interface ServeOptions {
  /**
   * What `service()` returned, and what `health()` and its like did, in an array; or the address of a
   * module that exports such, which every thread loads for itself:
   * `new URL('./services.js', import.meta.url)`. That module may export `interceptors` too.
   */
  readonly services: readonly (Service | AttachedServices)[] | URL;
  /** A name or address to listen on. Default 127.0.0.1; 0.0.0.0 and :: are all addresses. */
  readonly host?: string;
  /** 0 for any free port. Default 50051. */
  readonly port?: number;
  /**
   * A Unix socket to listen on, instead of host and port: the path of a file, or
   * `unix-abstract:name` (Linux). A file that a dead process left behind is replaced; that of a
   * server that is alive is an error. The file is removed when the server closes.
   */
  readonly path?: string;
  /** The permission of that file, 0o660 for example. Default: as the umask says. */
  readonly pathMode?: number;
  /**
   * The number of a descriptor that listens already, TCP or Unix, instead of host, port and path;
   * the server accepts from a duplicate, and the descriptor stays yours to close. Default: one that
   * the service manager handed over (`LISTEN_FDS` and `LISTEN_PID`, sd_listen_fds(3)), which then
   * goes before host, port and path: the first server of the process takes descriptor 3.
   */
  readonly descriptor?: number;
  /** Connections that may wait to be accepted. Default 4,096; the kernel may allow less. */
  readonly backlog?: number;
  /** Server threads; beyond 1, `services` has to be a URL. Default 1. */
  readonly threads?: number;
  /** Default: MILLRACE_DRIVER, or `auto`. */
  readonly driver?: DriverName;
  /** Limits of each thread; absent ones have their defaults. */
  readonly limits?: Partial<Limits>;
  /** PINGs of this server, and how often clients may send theirs. */
  readonly keepalive?: KeepaliveOptions;
  /** What HTTP/2 lets a client do before it counts as an attack. */
  readonly http2?: Http2Options;
  /**
   * How replies are compressed where the client takes it, unless a handler says otherwise by
   * `ctx.compression`. Default `identity`: not at all.
   */
  readonly compression?: Encoding;
  /** Around every call, the first outermost. With threads, export them from the services module. */
  readonly interceptors?: readonly Interceptor[];
  /** The level of Millrace's own logger. Default: LOG_LEVEL, or `info`. */
  readonly log?: {
    /** The least level that is written. Default: LOG_LEVEL, or `info`. */
    readonly level?: LogLevel;
  };
  /** A pino logger instead. Threads cannot share one, so they use `log`. */
  readonly logger?: Logger;
  /** Speak TLS, with HTTP/2 negotiated by ALPN. Default: plain HTTP/2 with prior knowledge. */
  readonly tls?: TlsOptions;
  /**
   * On SIGTERM or SIGINT: drain, then let the process end with exit code 0; on the second signal,
   * exit at once. Default true.
   */
  readonly signals?: boolean;
  /** How long a drain waits for calls to end. Default 30 s. */
  readonly drainTimeoutMs?: number;
  /** How long a handler may outlive its cancellation before a warning names it. Default 5 s. */
  readonly handlerGraceMs?: number;
}

/** The options of one thread: plain data, for they cross to workers. */
export interface ThreadOptions {
  readonly engine: Readonly<Record<string, number | string | boolean>> & {
    readonly sendMessageBytes: number;
  };
  readonly backlog: number;
  readonly handlerGraceMs: number;
  readonly compression: Encoding;
}

/** Options with their defaults, all valid. */
export interface CheckedOptions {
  readonly services: readonly (Service | AttachedServices)[] | URL;
  readonly endpoint: Endpoint;
  /** It listens already, and goes before the endpoint. */
  readonly descriptor: number | undefined;
  readonly threads: number;
  readonly interceptors: readonly Interceptor[];
  readonly logger: Logger;
  readonly logLevel: LogLevel;
  readonly signals: boolean;
  readonly drainTimeoutMs: number;
  readonly tls: TlsOptions | undefined;
  readonly thread: ThreadOptions;
}

const drivers: readonly string[] = ['auto', 'bundle', 'ring', 'classic', 'portable'];
const levels: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];
const known = [
  'services',
  'host',
  'port',
  'path',
  'pathMode',
  'descriptor',
  'backlog',
  'threads',
  'driver',
  'limits',
  'keepalive',
  'http2',
  'compression',
  'interceptors',
  'log',
  'logger',
  'tls',
  'signals',
  'drainTimeoutMs',
  'handlerGraceMs',
];

/**
 * @throws MillraceError MILLRACE_OPTION_INVALID, MILLRACE_LIMITS_CONFLICT,
 * MILLRACE_THREADS_NEED_MODULE, MILLRACE_SERVICE_INVALID, MILLRACE_SERVICE_DUPLICATE,
 * MILLRACE_INTERCEPTOR_INVALID
 */
export function checkOptions(given: ServeOptions): CheckedOptions {
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) {
      throw new MillraceError(
        'MILLRACE_OPTION_INVALID',
        `serve() has no option "${name}"; it has ${known.join(', ')}`,
      );
    }
  }
  const threads = checkNumber('threads', given.threads ?? 1, 1, 1024);
  const { services } = given;
  if (!(services instanceof URL)) {
    checkServices(services);
    if (threads > 1) throw new MillraceError('MILLRACE_THREADS_NEED_MODULE');
  }
  const driver = given.driver ?? (process.env['MILLRACE_DRIVER'] || 'auto');
  if (!drivers.includes(driver)) invalid('driver', driver, `one of ${drivers.join(', ')}`);
  const level = given.log?.level ?? process.env['LOG_LEVEL'] ?? 'info';
  if (!levels.includes(level)) invalid('log.level', level, `one of ${levels.join(', ')}`);
  const signals = given.signals ?? true;
  if (typeof signals !== 'boolean') invalid('signals', signals, 'true or false');
  return {
    services,
    endpoint: checkEndpoint(given),
    descriptor: checkDescriptor(given),
    threads,
    interceptors: checkInterceptors(given.interceptors ?? []),
    logger: given.logger ?? createLogger(level as LogLevel),
    logLevel: level as LogLevel,
    signals,
    drainTimeoutMs: checkNumber('drainTimeoutMs', given.drainTimeoutMs ?? 30_000, 0, 0x7fffffff),
    tls: checkTls(given.tls),
    thread: {
      engine: {
        driver,
        ...checkLimits({ ...given.limits }),
        ...checkKeepalive(given.keepalive),
        ...checkHttp2(given.http2),
      },
      backlog: checkNumber('backlog', given.backlog ?? 4096, 1, 65535),
      handlerGraceMs: checkNumber('handlerGraceMs', given.handlerGraceMs ?? 5000, 0, 0x7fffffff),
      compression: checkEncoding('compression', given.compression ?? 'identity'),
    },
  };
}

/** @throws MillraceError MILLRACE_SERVICE_INVALID, MILLRACE_SERVICE_DUPLICATE */
export function checkServices(
  services: unknown,
): asserts services is readonly (Service | AttachedServices)[] {
  if (!Array.isArray(services)) {
    throw new MillraceError('MILLRACE_SERVICE_INVALID', 'services is neither an array nor a URL');
  }
  const names = new Set<string>();
  services.forEach((service: unknown, index) => {
    if (isAttached(service)) return;
    if (!isService(service)) {
      throw new MillraceError('MILLRACE_SERVICE_INVALID', `services[${index}] is no service`);
    }
    if (names.has(service.typeName)) {
      throw new MillraceError('MILLRACE_SERVICE_DUPLICATE', `${service.typeName} is there twice`);
    }
    names.add(service.typeName);
  });
}

function invalid(name: string, value: unknown, wanted: string): never {
  throw new MillraceError(
    'MILLRACE_OPTION_INVALID',
    `${name} is ${JSON.stringify(value) ?? String(value)}, but has to be ${wanted}`,
  );
}
