import { expect, test } from 'vitest';
import { namesOfService, protoMethodName } from './names.js';

test.each([
  ['Orders', 'Orders', 'orders', 'orders', 'orders'],
  ['order-items', 'OrderItems', 'orderItems', 'order-items', 'order_items'],
  ['orderItems', 'OrderItems', 'orderItems', 'order-items', 'order_items'],
  ['order_items', 'OrderItems', 'orderItems', 'order-items', 'order_items'],
  ['HTTPProxy', 'HTTPProxy', 'httpProxy', 'http-proxy', 'http_proxy'],
  ['Service', 'Service', 'serviceService', 'service', 'service'],
  ['Delete', 'Delete', 'deleteService', 'delete', 'delete'],
])('%s', (given, proto, constant, file, snake) => {
  expect(namesOfService(given)).toMatchObject({ proto, constant, file, snake });
});

test('methods begin with a capital', () => {
  expect(['list', 'list-all', 'listAll', 'GetURL'].map(protoMethodName)).toEqual([
    'List',
    'ListAll',
    'ListAll',
    'GetURL',
  ]);
});
