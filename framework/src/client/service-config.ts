import { z } from 'zod';
import { MillraceError } from '../errors.js';
import { isStatus, Status } from '../status/status.js';

/** Attempts at most, whatever a policy says, as gRFC A6 has it. */
const ATTEMPTS_MOST = 5;

const duration = z
  .string()
  .regex(/^\d+(\.\d{1,9})?s$/, 'a duration is written as seconds: "1s", "0.25s"')
  .transform((text) => Number(text.slice(0, -1)) * 1000);
const positiveDuration = duration.refine((ms) => ms > 0, 'has to be more than 0s');

const code = z.union([z.string(), z.number()]).transform((given, context) => {
  const found =
    typeof given === 'number' ? given : (Status as Record<string, number>)[given.toUpperCase()];
  if (isStatus(found)) return found;
  context.addIssue({ code: 'custom', message: `${JSON.stringify(given)} is no status code` });
  return z.NEVER;
});

/** A set of status codes as bits. */
const codes = z
  .array(code)
  .transform((list) => list.reduce<number>((bits, one) => bits | (1 << one), 0));

const attempts = z
  .int()
  .min(2)
  .transform((given) => Math.min(given, ATTEMPTS_MOST));

const retryPolicy = z.strictObject({
  /** With the first one; 2 at least, and no more than 5 are made. */
  maxAttempts: attempts,
  /** Before the second attempt at most: `"0.1s"`. A random part of it is waited for. */
  initialBackoff: positiveDuration,
  /** What that grows to. */
  maxBackoff: positiveDuration,
  /** By how much it grows with each attempt. */
  backoffMultiplier: z.number().positive(),
  /** Names or numbers of the statuses after which there is another attempt. */
  retryableStatusCodes: codes.refine((bits) => bits !== 0, 'has to name at least one code'),
});

const hedgingPolicy = z.strictObject({
  /** With the first one; 2 at least, and no more than 5 are made. */
  maxAttempts: attempts,
  /** Between attempts: `"0.05s"`. Default: all at once. */
  hedgingDelay: duration.default(0),
  /** Statuses after which the other attempts go on. */
  nonFatalStatusCodes: codes.default(0),
});

const name = z
  .strictObject({
    /** The full name: `shop.v1.Orders`; empty for all. */
    service: z.string().default(''),
    /** `Find`; empty for all of the service. */
    method: z.string().default(''),
  })
  .refine(
    (given) => given.service !== '' || given.method === '',
    'a method without a service names nothing',
  );

const methodConfig = z
  .strictObject({
    /** The methods that it holds for. */
    name: z.array(name).min(1),
    /** Whether calls wait for a connection, unless they say otherwise. */
    waitForReady: z.boolean().optional(),
    /** The longest that calls may take: `"5s"`. */
    timeout: duration.optional(),
    /** Excludes `hedgingPolicy`. */
    retryPolicy: retryPolicy.optional(),
    /** Excludes `retryPolicy`. */
    hedgingPolicy: hedgingPolicy.optional(),
  })
  .refine(
    (given) => given.retryPolicy === undefined || given.hedgingPolicy === undefined,
    'retryPolicy and hedgingPolicy exclude each other',
  );

const anything = z.record(z.string(), z.unknown());

const serviceConfig = z.strictObject({
  /** Balancers by preference, `[{ "round_robin": {} }]`: the first that is known is taken. */
  loadBalancingConfig: z.array(anything).optional(),
  /** The older form: `"round_robin"`. */
  loadBalancingPolicy: z.string().optional(),
  /** What holds for which methods; the most exact name decides. */
  methodConfig: z.array(methodConfig).default([]),
  /** Stops retries and hedging while too many calls fail. */
  retryThrottling: z
    .strictObject({
      /** Up to 1,000; a failed call costs one, and below half of them there are no retries. */
      maxTokens: z.number().positive().max(1000),
      /** What a successful call gives back. Three decimals count. */
      tokenRatio: z
        .number()
        .min(0.001)
        .transform((ratio) => Math.floor(ratio * 1000) / 1000),
    })
    .optional(),
  /** Sends calls only to servers that are SERVING, with `round_robin`. */
  healthCheckConfig: z
    .strictObject({
      /** What the health service is asked about. */
      serviceName: z.string().optional(),
    })
    .optional(),
});

/**
 * A service config as gRPC's documents write it in JSON: which balancer, which methods are retried or
 * hedged, and how.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/service_config.md, gRFC A6, A17
 */
export type ServiceConfig = z.input<typeof serviceConfig>;
export type RetryPolicy = z.output<typeof retryPolicy>;
export type HedgingPolicy = z.output<typeof hedgingPolicy>;
export type RetryThrottling = { readonly maxTokens: number; readonly tokenRatio: number };
export type BalancerName = 'pick_first' | 'round_robin';

/** What the config says of one method. */
export interface MethodConfig {
  readonly waitForReady?: boolean | undefined;
  /** Milliseconds. */
  readonly timeout?: number | undefined;
  readonly retryPolicy?: RetryPolicy | undefined;
  readonly hedgingPolicy?: HedgingPolicy | undefined;
}

/** A service config, valid and with its defaults. */
export interface CheckedServiceConfig {
  readonly balancer: BalancerName | undefined;
  readonly methods: ReadonlyMap<string, MethodConfig>;
  readonly throttling: RetryThrottling | undefined;
  readonly healthCheckService: string | undefined;
}

/** @throws MillraceError MILLRACE_SERVICE_CONFIG_INVALID, naming each field that is wrong */
export function checkServiceConfig(given: unknown): CheckedServiceConfig {
  const result = serviceConfig.safeParse(given);
  if (!result.success) {
    throw invalid(
      result.error.issues
        .map(
          ({ path, message }) => `${path.length === 0 ? 'the config' : path.join('.')}: ${message}`,
        )
        .join('; '),
      result.error,
    );
  }
  const config = result.data;
  const methods = new Map<string, MethodConfig>();
  for (const { name: names, ...rest } of config.methodConfig) {
    for (const { service, method } of names) {
      const key = `${service}/${method}`;
      if (methods.has(key)) throw invalid(`methodConfig: "${key}" is named twice`);
      methods.set(key, rest);
    }
  }
  return {
    balancer: balancerOf(config.loadBalancingConfig, config.loadBalancingPolicy),
    methods,
    throttling: config.retryThrottling,
    healthCheckService: config.healthCheckConfig?.serviceName,
  };
}

/** What a config says of a method: the nearest of method, service and default. */
export function configOf(
  config: CheckedServiceConfig | undefined,
  service: string,
  method: string,
): MethodConfig | undefined {
  const methods = config?.methods;
  return methods?.get(`${service}/${method}`) ?? methods?.get(`${service}/`) ?? methods?.get('/');
}

/** The first policy that is known, as gRPC's documents ask. */
function balancerOf(
  list: readonly Record<string, unknown>[] | undefined,
  policy: string | undefined,
): BalancerName | undefined {
  if (list !== undefined) {
    const known = list.flatMap((entry) => Object.keys(entry)).find(isBalancer);
    if (known === undefined && list.length > 0) {
      throw invalid('loadBalancingConfig: none of its policies is pick_first or round_robin');
    }
    if (known !== undefined) return known;
  }
  const lower = policy?.toLowerCase();
  if (lower === undefined) return undefined;
  if (!isBalancer(lower)) {
    throw invalid(`loadBalancingPolicy: "${policy}" is neither pick_first nor round_robin`);
  }
  return lower;
}

export function isBalancer(name: unknown): name is BalancerName {
  return name === 'pick_first' || name === 'round_robin';
}

function invalid(what: string, cause?: unknown): MillraceError {
  return new MillraceError('MILLRACE_SERVICE_CONFIG_INVALID', what, { cause });
}
