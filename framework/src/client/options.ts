import type { Logger } from 'pino';
import type { NativeClientTls } from '../bridge/native.js';
import { checkEncoding, type Encoding } from '../context/compression.js';
import { MillraceError } from '../errors.js';
import { checkLimits, checkNumber, type Limits, limitTable } from '../limits.js';
import { createLogger, type LogLevel } from '../logging/logger.js';
import { type BackoffBounds, backoffDefaults } from './backoff.js';
import { type ClientInterceptor, checkClientInterceptors } from './interceptor.js';
import type { Lookup } from './resolver.js';
import {
  type BalancerName,
  type CheckedServiceConfig,
  checkServiceConfig,
  isBalancer,
  type ServiceConfig,
} from './service-config.js';
import type { EngineOptions } from './thread.js';
import { type ClientTlsOptions, readClientTls } from './tls.js';

/** What `connection` and `connect` take beside the target. */
export interface ConnectionOptions {
  /** Which methods are retried or hedged, and how; the balancer; the health check. */
  readonly serviceConfig?: ServiceConfig | undefined;
  /** Goes before the service config's. Default `pick_first`. */
  readonly loadBalancing?: BalancerName | undefined;
  /** Connections to each address that is used. Default 1. */
  readonly connections?: number | undefined;
  /** PINGs that find out whether the server is still there. Default: none. */
  readonly keepalive?:
    | {
        /** A PING after so many milliseconds without a byte from the server; least 10 s. Default: never. */
        readonly timeMs?: number | undefined;
        /** The answer has to come within. Default 20 s. */
        readonly timeoutMs?: number | undefined;
        /** Also while there is no call. Default false. */
        readonly withoutCalls?: boolean | undefined;
      }
    | undefined;
  /** For TCP and HTTP/2 to be set up. Default 20 s. */
  readonly connectTimeoutMs?: number | undefined;
  /** The time between attempts to connect: from 1 s to 120 s by default. */
  readonly backoff?: Partial<BackoffBounds> | undefined;
  /** What `:authority` says, instead of the target's. */
  readonly authority?: string | undefined;
  /** What the header `user-agent` says. */
  readonly userAgent?: string | undefined;
  /** Speak TLS: `true` trusts the system's authorities. Default: in the clear. */
  readonly tls?: boolean | ClientTlsOptions | undefined;
  /** How requests are compressed, unless client or call say otherwise. Default `identity`: not at all. */
  readonly compression?: Encoding | undefined;
  /** What streams keep to be sent again: per call 256 KiB, in all 16 MiB by default. */
  readonly retryBuffer?:
    | {
        /** Bytes of the requests of one call; beyond, it is not made again. Default 256 KiB. */
        readonly callBytes?: number | undefined;
        /** Bytes of all calls of the connection together. Default 16 MiB. */
        readonly connectionBytes?: number | undefined;
      }
    | undefined;
  /** Around every call, the first outermost. */
  readonly interceptors?: readonly ClientInterceptor[] | undefined;
  /** Limits of the engine; connections with the same ones share it. */
  readonly limits?: Partial<Limits> | undefined;
  /** Default: MILLRACE_DRIVER, or `auto`. */
  readonly driver?: 'auto' | 'bundle' | 'ring' | 'classic' | 'portable' | undefined;
  /** Default: a pino logger of the level LOG_LEVEL, or `warn`. */
  readonly logger?: Logger | undefined;
  /** Looks up names, instead of the system. */
  readonly lookup?: Lookup | undefined;
}

/** Options with their defaults, all valid. */
export interface CheckedConnectionOptions {
  readonly serviceConfig: CheckedServiceConfig | undefined;
  readonly loadBalancing: BalancerName | undefined;
  readonly connections: number;
  readonly keepalive: {
    readonly timeMs: number;
    readonly timeoutMs: number;
    readonly withoutCalls: boolean;
  };
  readonly connectTimeoutMs: number;
  readonly backoff: BackoffBounds;
  readonly authority: string | undefined;
  readonly userAgent: string | undefined;
  readonly tls: NativeClientTls | undefined;
  readonly encoding: Encoding;
  readonly retryBuffer: { readonly callBytes: number; readonly connectionBytes: number };
  readonly interceptors: readonly ClientInterceptor[];
  readonly engine: EngineOptions;
  readonly unsentBytesMark: number;
  readonly logger: Logger;
  readonly lookup: Lookup | undefined;
}

const known = [
  'serviceConfig',
  'loadBalancing',
  'connections',
  'keepalive',
  'connectTimeoutMs',
  'backoff',
  'authority',
  'userAgent',
  'tls',
  'compression',
  'retryBuffer',
  'interceptors',
  'limits',
  'driver',
  'logger',
  'lookup',
];
const drivers: readonly string[] = ['auto', 'bundle', 'ring', 'classic', 'portable'];
const LONGEST_MS = 0x7fffffff;
/** gRFC A8: pings more often than that are taken for an attack. */
const KEEPALIVE_LEAST_MS = 10_000;

let sharedLogger: Logger | undefined;

/** @throws MillraceError MILLRACE_OPTION_INVALID, MILLRACE_SERVICE_CONFIG_INVALID and those of the limits */
export function checkConnectionOptions(given: ConnectionOptions): CheckedConnectionOptions {
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) {
      invalid(`a connection has no option "${name}"; it has ${known.join(', ')}`);
    }
  }
  const { loadBalancing, keepalive = {}, backoff = {}, retryBuffer = {} } = given;
  if (loadBalancing !== undefined && !isBalancer(loadBalancing)) {
    invalid(
      `loadBalancing is ${JSON.stringify(loadBalancing)}, neither pick_first nor round_robin`,
    );
  }
  const driver = given.driver ?? (process.env['MILLRACE_DRIVER'] || 'auto');
  if (!drivers.includes(driver)) {
    invalid(`driver is ${JSON.stringify(driver)}, but has to be one of ${drivers.join(', ')}`);
  }
  const limits = checkLimits({ ...given.limits });
  const initialMs = checkNumber(
    'backoff.initialMs',
    backoff.initialMs ?? backoffDefaults.initialMs,
    1,
    LONGEST_MS,
  );
  return {
    serviceConfig:
      given.serviceConfig === undefined ? undefined : checkServiceConfig(given.serviceConfig),
    loadBalancing,
    connections: checkNumber('connections', given.connections ?? 1, 1, 1024),
    keepalive: {
      timeMs:
        keepalive.timeMs === undefined
          ? 0
          : checkNumber('keepalive.timeMs', keepalive.timeMs, KEEPALIVE_LEAST_MS, LONGEST_MS),
      timeoutMs: checkNumber('keepalive.timeoutMs', keepalive.timeoutMs ?? 20_000, 1, LONGEST_MS),
      withoutCalls: keepalive.withoutCalls ?? false,
    },
    connectTimeoutMs: checkNumber(
      'connectTimeoutMs',
      given.connectTimeoutMs ?? 20_000,
      1,
      LONGEST_MS,
    ),
    backoff: {
      initialMs,
      mostMs: checkNumber(
        'backoff.mostMs',
        backoff.mostMs ?? Math.max(initialMs, backoffDefaults.mostMs),
        initialMs,
        LONGEST_MS,
      ),
    },
    authority: given.authority,
    userAgent: given.userAgent,
    tls: readClientTls(given.tls),
    encoding: checkEncoding('compression', given.compression ?? 'identity'),
    retryBuffer: {
      callBytes: checkNumber(
        'retryBuffer.callBytes',
        retryBuffer.callBytes ?? 256 * 1024,
        0,
        LONGEST_MS,
      ),
      connectionBytes: checkNumber(
        'retryBuffer.connectionBytes',
        retryBuffer.connectionBytes ?? 16 * 1024 * 1024,
        0,
        LONGEST_MS,
      ),
    },
    interceptors: checkClientInterceptors(given.interceptors ?? []),
    engine: { driver, ...limits } as EngineOptions,
    unsentBytesMark: limits.streamUnsentBytes ?? limitTable.streamUnsentBytes.default,
    logger: given.logger ?? defaultLogger(),
    lookup: given.lookup,
  };
}

function defaultLogger(): Logger {
  sharedLogger ??= createLogger((process.env['LOG_LEVEL'] ?? 'warn') as LogLevel);
  return sharedLogger;
}

function invalid(what: string): never {
  throw new MillraceError('MILLRACE_OPTION_INVALID', what);
}
