import { MillraceError } from '../errors.js';
import { isStatus, Status } from '../status/status.js';

/** Attempts at most, whatever a policy says, as gRFC A6 has it. */
const ATTEMPTS_MOST = 5;

/** A duration as JSON has it: seconds, as in `"0.25s"`. */
type Duration = string;

/**
 * A service config as gRPC's documents write it in JSON: which balancer, which methods are retried or
 * hedged, and how.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/service_config.md, gRFC A6, A17
 */
export interface ServiceConfig {
  /** Balancers by preference, `[{ "round_robin": {} }]`: the first that is known is taken. */
  readonly loadBalancingConfig?: readonly Readonly<Record<string, unknown>>[] | undefined;
  /** The older form: `"round_robin"`. */
  readonly loadBalancingPolicy?: string | undefined;
  /** What holds for which methods; the most exact name decides. */
  readonly methodConfig?: readonly ServiceConfigMethod[] | undefined;
  /** Stops retries and hedging while too many calls fail. */
  readonly retryThrottling?: RetryThrottling | undefined;
  /** Sends calls only to servers that are SERVING, with `round_robin`. */
  readonly healthCheckConfig?:
    | {
        /** What the health service is asked about. */
        readonly serviceName?: string | undefined;
      }
    | undefined;
}

/** What a service config says of some methods. */
export interface ServiceConfigMethod {
  /** The methods that it holds for. */
  readonly name: readonly {
    /** The full name: `shop.v1.Orders`; empty for all. */
    readonly service?: string | undefined;
    /** `Find`; empty for all of the service. */
    readonly method?: string | undefined;
  }[];
  /** Whether calls wait for a connection, unless they say otherwise. */
  readonly waitForReady?: boolean | undefined;
  /** The longest that calls may take: `"5s"`. */
  readonly timeout?: Duration | undefined;
  /** Excludes `hedgingPolicy`. */
  readonly retryPolicy?:
    | {
        /** With the first one; 2 at least, and no more than 5 are made. */
        readonly maxAttempts: number;
        /** Before the second attempt at most: `"0.1s"`. A random part of it is waited for. */
        readonly initialBackoff: Duration;
        /** What that grows to. */
        readonly maxBackoff: Duration;
        /** By how much it grows with each attempt. */
        readonly backoffMultiplier: number;
        /** Names or numbers of the statuses after which there is another attempt. */
        readonly retryableStatusCodes: readonly (string | number)[];
      }
    | undefined;
  /** Excludes `retryPolicy`. */
  readonly hedgingPolicy?:
    | {
        /** With the first one; 2 at least, and no more than 5 are made. */
        readonly maxAttempts: number;
        /** Between attempts: `"0.05s"`. Default: all at once. */
        readonly hedgingDelay?: Duration | undefined;
        /** Statuses after which the other attempts go on. */
        readonly nonFatalStatusCodes?: readonly (string | number)[] | undefined;
      }
    | undefined;
}

/** Backoffs in milliseconds, codes as bits. */
export interface RetryPolicy {
  readonly maxAttempts: number;
  readonly initialBackoff: number;
  readonly maxBackoff: number;
  readonly backoffMultiplier: number;
  readonly retryableStatusCodes: number;
}

/** The delay in milliseconds, codes as bits. */
export interface HedgingPolicy {
  readonly maxAttempts: number;
  readonly hedgingDelay: number;
  readonly nonFatalStatusCodes: number;
}

/** The bucket of tokens that stops retries while too many calls fail, of gRFC A6. */
export interface RetryThrottling {
  /** Up to 1,000; a failed call costs one, and below half of them there are no retries. */
  readonly maxTokens: number;
  /** What a successful call gives back. Three decimals count. */
  readonly tokenRatio: number;
}

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
  const wrong: string[] = [];
  const config = new Fields(given, '', wrong);
  config.only([
    ...['loadBalancingConfig', 'loadBalancingPolicy', 'methodConfig', 'retryThrottling'],
    'healthCheckConfig',
  ]);
  const methods = new Map<string, MethodConfig>();
  const repeated: string[] = [];
  for (const one of config.list('methodConfig') ?? []) {
    const [names, method] = methodConfig(one);
    for (const name of names) {
      if (methods.has(name)) repeated.push(name);
      methods.set(name, method);
    }
  }
  const throttling = config.fields('retryThrottling');
  throttling?.only(['maxTokens', 'tokenRatio']);
  const maxTokens = throttling?.required(
    'maxTokens',
    throttling.number('maxTokens', (tokens) => tokens > 0 && tokens <= 1000),
  );
  const tokenRatio = throttling?.required(
    'tokenRatio',
    throttling.number('tokenRatio', (ratio) => ratio >= 0.001),
  );
  const health = config.fields('healthCheckConfig');
  health?.only(['serviceName']);
  const healthCheckService = health?.string('serviceName');
  const policies = config.list('loadBalancingConfig')?.map((one) => one.names());
  const policy = config.string('loadBalancingPolicy');
  if (wrong.length > 0) throw invalid(wrong.join('; '));
  if (repeated.length > 0) throw invalid(`methodConfig: "${repeated[0]}" is named twice`);
  return {
    balancer: balancerOf(policies, policy),
    methods,
    throttling:
      maxTokens === undefined || tokenRatio === undefined
        ? undefined
        : // Three decimals count.
          { maxTokens, tokenRatio: Math.floor(tokenRatio * 1000) / 1000 },
    healthCheckService,
  };
}

function methodConfig(config: Fields): [names: string[], config: MethodConfig] {
  config.only(['name', 'waitForReady', 'timeout', 'retryPolicy', 'hedgingPolicy']);
  const names = (config.list('name') ?? []).map((one) => {
    one.only(['service', 'method']);
    const [service = '', method = ''] = [one.string('service'), one.string('method')];
    if (service === '' && method !== '') one.wrong('', 'a method without a service names nothing');
    return `${service}/${method}`;
  });
  if (names.length === 0) config.wrong('name', 'has to be an array of at least one name');
  const retry = config.fields('retryPolicy');
  const hedging = config.fields('hedgingPolicy');
  if (retry !== undefined && hedging !== undefined) {
    config.wrong('', 'retryPolicy and hedgingPolicy exclude each other');
  }
  return [
    names,
    {
      waitForReady: config.boolean('waitForReady'),
      timeout: config.duration('timeout'),
      retryPolicy: retry && retryPolicy(retry),
      hedgingPolicy: hedging && hedgingPolicy(hedging),
    },
  ];
}

function retryPolicy(policy: Fields): RetryPolicy {
  policy.only([
    ...['maxAttempts', 'initialBackoff', 'maxBackoff', 'backoffMultiplier'],
    'retryableStatusCodes',
  ]);
  const codes = policy.codes('retryableStatusCodes');
  if (codes === 0) policy.wrong('retryableStatusCodes', 'has to name at least one code');
  return {
    maxAttempts: attempts(policy),
    initialBackoff: policy.required('initialBackoff', positive(policy, 'initialBackoff')),
    maxBackoff: policy.required('maxBackoff', positive(policy, 'maxBackoff')),
    backoffMultiplier: policy.required(
      'backoffMultiplier',
      policy.number('backoffMultiplier', (factor) => factor > 0),
    ),
    retryableStatusCodes: policy.required('retryableStatusCodes', codes),
  };
}

function hedgingPolicy(policy: Fields): HedgingPolicy {
  policy.only(['maxAttempts', 'hedgingDelay', 'nonFatalStatusCodes']);
  return {
    maxAttempts: attempts(policy),
    hedgingDelay: policy.duration('hedgingDelay') ?? 0,
    nonFatalStatusCodes: policy.codes('nonFatalStatusCodes') ?? 0,
  };
}

function attempts(policy: Fields): number {
  const given = policy.number('maxAttempts', (number) => Number.isInteger(number) && number >= 2);
  return Math.min(policy.required('maxAttempts', given), ATTEMPTS_MOST);
}

function positive(policy: Fields, name: string): number | undefined {
  const given = policy.duration(name);
  if (given === 0) policy.wrong(name, 'has to be more than 0s');
  return given;
}

/** An object of the config, of which each field is asked for; what is wrong is noted by its path. */
class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #path: string;
  readonly #wrong: string[];

  constructor(given: unknown, path: string, wrong: string[]) {
    this.#path = path;
    this.#wrong = wrong;
    const isObject = typeof given === 'object' && given !== null && !Array.isArray(given);
    this.#values = isObject ? (given as Record<string, unknown>) : {};
    if (!isObject) this.wrong('', `has to be an object, and is ${shown(given)}`);
  }

  /** Notes that a field is wrong; '' is the object itself. */
  wrong(name: string, why: string): void {
    const path = [this.#path, name].filter((part) => part !== '').join('.');
    this.#wrong.push(`${path === '' ? 'the config' : path}: ${why}`);
  }

  names(): string[] {
    return Object.keys(this.#values);
  }

  /** No other fields are known. */
  only(known: readonly string[]): void {
    for (const name of this.names()) if (!known.includes(name)) this.wrong(name, 'is not known');
  }

  string(name: string): string | undefined {
    return this.#of(name, 'a string', (value) => typeof value === 'string');
  }

  boolean(name: string): boolean | undefined {
    return this.#of(name, 'true or false', (value) => typeof value === 'boolean');
  }

  number(name: string, accept: (value: number) => boolean): number | undefined {
    const value = this.#of<number>(name, 'a number', (given) => Number.isFinite(given));
    if (value === undefined || accept(value)) return value;
    this.wrong(name, `${value} is out of range`);
    return undefined;
  }

  /** Milliseconds. */
  duration(name: string): number | undefined {
    const what = 'a duration, written as seconds: "1s", "0.25s"';
    const text = this.#of<string>(
      name,
      what,
      (value) => typeof value === 'string' && /^\d+(\.\d{1,9})?s$/.test(value),
    );
    return text === undefined ? undefined : Number(text.slice(0, -1)) * 1000;
  }

  /** A set of status codes as bits. */
  codes(name: string): number | undefined {
    const list = this.#of<unknown[]>(name, 'an array', Array.isArray);
    return list?.reduce<number>((bits, given) => {
      const code =
        typeof given === 'string' ? (Status as Record<string, number>)[given.toUpperCase()] : given;
      if (isStatus(code)) return bits | (1 << code);
      this.wrong(name, `${shown(given)} is no status code`);
      return bits;
    }, 0);
  }

  fields(name: string): Fields | undefined {
    const value = this.#values[name];
    return value === undefined ? undefined : new Fields(value, this.#below(name), this.#wrong);
  }

  list(name: string): Fields[] | undefined {
    return this.#of<unknown[]>(name, 'an array', Array.isArray)?.map(
      (value, index) => new Fields(value, this.#below(`${name}.${index}`), this.#wrong),
    );
  }

  /** The value of a field that may not be left out. */
  required(name: string, value: number | undefined): number {
    if (value === undefined && this.#values[name] === undefined) this.wrong(name, 'is missing');
    return value ?? 0;
  }

  #of<T>(name: string, what: string, is: (value: unknown) => boolean): T | undefined {
    const value = this.#values[name];
    if (value === undefined || is(value)) return value as T | undefined;
    this.wrong(name, `has to be ${what}, and is ${shown(value)}`);
    return undefined;
  }

  #below(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }
}

function shown(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
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
  list: readonly string[][] | undefined,
  policy: string | undefined,
): BalancerName | undefined {
  if (list !== undefined) {
    const known = list.flat().find(isBalancer);
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

function invalid(what: string): MillraceError {
  return new MillraceError('MILLRACE_SERVICE_CONFIG_INVALID', what);
}
