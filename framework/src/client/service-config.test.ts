import { expect, test } from 'vitest';
import { checkServiceConfig, configOf } from './service-config.js';

const retryPolicy = {
  maxAttempts: 9,
  initialBackoff: '0.1s',
  maxBackoff: '1s',
  backoffMultiplier: 2,
  retryableStatusCodes: ['UNAVAILABLE', 8],
};

test('the nearest of method, service and default counts', () => {
  const config = checkServiceConfig({
    methodConfig: [
      { name: [{}], timeout: '3s' },
      { name: [{ service: 'a.S' }], timeout: '2s', waitForReady: true },
      { name: [{ service: 'a.S', method: 'M' }], timeout: '1.5s' },
    ],
  });
  expect(configOf(config, 'a.S', 'M')?.timeout).toBe(1500);
  expect(configOf(config, 'a.S', 'N')).toMatchObject({ timeout: 2000, waitForReady: true });
  expect(configOf(config, 'b.S', 'M')?.timeout).toBe(3000);
  expect(configOf(undefined, 'b.S', 'M')).toBeUndefined();
});

test('a retry policy: at most five attempts, codes as bits, durations in milliseconds', () => {
  const config = checkServiceConfig({ methodConfig: [{ name: [{}], retryPolicy }] });
  expect(configOf(config, 'a', 'b')?.retryPolicy).toEqual({
    maxAttempts: 5,
    initialBackoff: 100,
    maxBackoff: 1000,
    backoffMultiplier: 2,
    retryableStatusCodes: (1 << 14) | (1 << 8),
  });
});

test('the first balancer that is known is taken', () => {
  const of = (config: object) => checkServiceConfig(config).balancer;
  expect(of({ loadBalancingConfig: [{ other: {} }, { round_robin: {} }] })).toBe('round_robin');
  expect(of({ loadBalancingPolicy: 'ROUND_ROBIN' })).toBe('round_robin');
  expect(of({})).toBeUndefined();
  expect(() => of({ loadBalancingConfig: [{ other: {} }] })).toThrow('none of its policies');
});

test.each<[unknown, RegExp]>([
  [null, /the config/],
  [{ unknown: 1 }, /unknown/],
  [{ methodConfig: [{ name: [] }] }, /methodConfig\.0\.name/],
  [{ methodConfig: [{ name: [{ method: 'M' }] }] }, /a method without a service/],
  [{ methodConfig: [{ name: [{}] }, { name: [{}] }] }, /named twice/],
  [{ methodConfig: [{ name: [{}], timeout: '1m' }] }, /methodConfig\.0\.timeout.*seconds/],
  [
    { methodConfig: [{ name: [{}], retryPolicy: { ...retryPolicy, maxAttempts: 1 } }] },
    /retryPolicy\.maxAttempts/,
  ],
  [
    { methodConfig: [{ name: [{}], retryPolicy: { ...retryPolicy, retryableStatusCodes: [] } }] },
    /at least one code/,
  ],
  [
    {
      methodConfig: [{ name: [{}], retryPolicy: { ...retryPolicy, retryableStatusCodes: ['NO'] } }],
    },
    /"NO" is no status code/,
  ],
  [
    { methodConfig: [{ name: [{}], retryPolicy, hedgingPolicy: { maxAttempts: 2 } }] },
    /exclude each other/,
  ],
  [
    { methodConfig: [{ name: [{}], retryPolicy: { ...retryPolicy, maxBackoff: undefined } }] },
    /retryPolicy\.maxBackoff: is missing/,
  ],
  [
    { methodConfig: [{ name: [{}], retryPolicy: { ...retryPolicy, initialBackoff: '0s' } }] },
    /more than 0s/,
  ],
  [{ methodConfig: [{ name: [{}], hedgingPolicy: { maxAttempts: 2.5 } }] }, /2\.5 is out of range/],
  [
    { methodConfig: [{ name: [{ service: 1 }] }] },
    /methodConfig\.0\.name\.0\.service: .* a string/,
  ],
  [{ methodConfig: {} }, /methodConfig: has to be an array, and is \{\}/],
  [{ methodConfig: [[]] }, /methodConfig\.0: has to be an object, and is \[\]/],
  [{ methodConfig: [{ name: [{}], waitForReady: 'yes' }] }, /waitForReady: .* true or false/],
  [{ loadBalancingConfig: ['round_robin'] }, /loadBalancingConfig\.0: has to be an object/],
  [{ healthCheckConfig: { name: '' } }, /healthCheckConfig\.name: is not known/],
  [{ retryThrottling: { maxTokens: 0, tokenRatio: 1 } }, /maxTokens/],
  [{ retryThrottling: { maxTokens: 10 } }, /tokenRatio: is missing/],
])('%j is refused', (config, why) => {
  expect(() => checkServiceConfig(config)).toThrow(why);
  expect(() => checkServiceConfig(config)).toThrow('MILLRACE_SERVICE_CONFIG_INVALID');
});
