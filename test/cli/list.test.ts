// millrace list, against our own server.

import { Status } from 'millrace';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { millrace } from '../support/cli.js';
import { protos, startShop, startSilentShop } from './shop-server.js';

let target: string;
const stop: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const server = await startShop();
  stop.push(() => server.close());
  target = `127.0.0.1:${server.port}`;
});
afterAll(async () => {
  for (const close of stop) await close();
});

const services = [
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
  'shop.v1.Archive',
  'shop.v1.Orders',
];

test('services', async () => {
  const text = await millrace(['list', target]);
  expect(text).toEqual({ code: 0, stdout: `${services.join('\n')}\n`, stderr: '' });
  const json = await millrace(['list', target, '--json']);
  expect(JSON.parse(json.stdout)).toEqual(services);
});

describe('a symbol', () => {
  test('service', async () => {
    const { code, stdout } = await millrace(['list', target, 'shop.v1.Orders']);
    expect(code).toBe(0);
    expect(stdout).toContain('service shop.v1.Orders {\n');
    expect(stdout).toContain('  rpc Get(shop.v1.Order) returns (shop.v1.Order);\n');
    expect(stdout).toContain(
      '  rpc Exchange(stream shop.v1.Numbered) returns (stream shop.v1.Numbered);\n',
    );
    const json = await millrace(['list', target, 'shop.v1.Archive', '--json']);
    expect(JSON.parse(json.stdout)).toEqual({
      kind: 'service',
      name: 'shop.v1.Archive',
      methods: [{ name: 'Keep', kind: 'unary', input: 'shop.v1.Legacy', output: 'shop.v1.Legacy' }],
    });
  });

  test('message', async () => {
    const { stdout } = await millrace(['list', target, 'shop.v1.Order']);
    for (const line of [
      'message shop.v1.Order {',
      '  repeated shop.v1.Order.Item items = 10;',
      '  map<int64, shop.v1.State> states = 13;',
      '  string card = 14; // one of payment',
      '  optional int32 discount = 16;',
      '  google.protobuf.Timestamp placed_at = 17;',
    ]) {
      expect(stdout).toContain(`${line}\n`);
    }
    const nested = await millrace(['list', target, 'shop.v1.Order.Item', '--json']);
    expect(JSON.parse(nested.stdout)).toMatchObject({
      kind: 'message',
      fields: [{ name: 'name', json: 'name', number: 1, type: 'string' }, {}, {}],
    });
  });

  test('enum, of a .proto file', async () => {
    const silent = await startSilentShop();
    stop.push(() => silent.close());
    const words = ['list', `127.0.0.1:${silent.port}`, 'shop.v1.State'];
    const proto = ['--proto', `${protos}/shop/v1/orders.proto`];
    const { stdout } = await millrace([...words, ...proto]);
    expect(stdout).toBe('enum shop.v1.State {\n  STATE_UNSPECIFIED = 0;\n  STATE_PAID = 1;\n}\n');
  });
});

describe('failures', () => {
  test('no such service', async () => {
    const { code, stdout, stderr } = await millrace(['list', target, 'shop.v1.Order2']);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('Did you mean shop.v1.Orders?');
  });

  test('no reflection', async () => {
    const silent = await startSilentShop();
    stop.push(() => silent.close());
    const { code, stderr } = await millrace(['list', `127.0.0.1:${silent.port}`]);
    expect(code).toBe(64 + Status.UNIMPLEMENTED);
    expect(stderr).toContain('has no reflection');
  });

  test('nobody there', async () => {
    const { code, stderr } = await millrace(['list', '127.0.0.1:1', '--json']);
    expect(code).toBe(64 + Status.UNAVAILABLE);
    expect(stderr).toMatch(/cannot connect to 127.0.0.1:1: .*\nIs the service running at /);
  });
});
