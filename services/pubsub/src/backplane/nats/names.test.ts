import { expect, test } from 'vitest';
import { deliveryOf, withoutConsumerSequence } from './acknowledgement.js';
import { requireClient } from './client.js';
import { durableName, Names, queueName } from './subjects.js';

const OLD = '$JS.ACK.MILLRACE_x.group_y.3.41.57.1795288817801184175.9';
const NEW = '$JS.ACK.hub.ACCOUNT.MILLRACE_x.group_y.3.41.57.1795288817801184175.9.random';

test.each([OLD, NEW])('a reply subject says what was delivered: %s', (reply) => {
  expect(deliveryOf(reply)).toEqual({
    attempt: 3,
    sequence: 41,
    consumerSequence: 57,
    time: 1_795_288_817_801,
    pending: 9,
  });
});

test('other reply subjects are no deliveries', () => {
  for (const reply of [undefined, '', '_INBOX.x', '$JS.ACK.too.short', '$JS.FC.x.y.1.2.3.4.5']) {
    expect(deliveryOf(reply)).toBeUndefined();
  }
});

test('an acknowledgement for a server that may have been restarted names the event alone', () => {
  expect(withoutConsumerSequence(OLD)).toBe(OLD.replace('.57.', '.0.'));
  expect(withoutConsumerSequence(NEW)).toBe(NEW.replace('.57.', '.0.'));
});

test('topics are subjects, and come back from them', () => {
  const names = new Names('my-space');
  expect(names.stream).toBe('MILLRACE_my-space');
  expect(names.stored('orders.*.>')).toBe('millrace.my-space.stored.orders.*.>');
  expect(names.transient('ticks')).toBe('millrace.my-space.transient.ticks');
  expect(names.topicOf(names.stored('orders.eu'))).toBe('orders.eu');
  expect(names.topicOf(names.transient('stored.x'))).toBe('stored.x');
  expect(() => new Names('my.space')).toThrow('cannot be used with NATS');
});

test('groups have names of their own', () => {
  expect(durableName('billing')).toBe('group_billing');
  expect(queueName('workers')).toBe('queue_workers');
  const names = new Names('my-space');
  expect(names.queue('workers', 'a.>')).toBe('millrace.my-space.queue.workers.a.>');
});

test('packages that are missing are named, with the command that installs them', () => {
  expect(() =>
    requireClient((name) => {
      if (name.endsWith('jetstream')) throw new Error('not found');
      return name;
    }),
  ).toThrow(
    'needs @nats-io/jetstream, which cannot be found: npm install @nats-io/transport-node@3.3.1 @nats-io/jetstream@3.3.1',
  );
  expect(() => requireClient()).not.toThrow();
});
