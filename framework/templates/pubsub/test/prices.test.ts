import { Status } from 'millrace';
import { settled, slowConsumer, startTest } from 'millrace/testing';
import { expect, test } from 'vitest';
import { Prices } from '../src/gen/prices/v1/prices.js';
import { pricesService } from '../src/services/prices.js';

test('a watcher gets what matches, in order', async () => {
  await using t = await startTest({ services: [pricesService] });
  const client = t.client(Prices);
  const metals = client.watch({ symbols: 'metals.*' });
  // From here on nothing is missed.
  await metals.headers;
  expect(await client.set({ symbol: 'metals.gold', value: 2 })).toEqual({ watchers: 1 });
  expect(await client.set({ symbol: 'grain.rye', value: 1 })).toEqual({ watchers: 0 });
  await client.set({ symbol: 'metals.tin', value: 3 });
  const [gold, tin] = [await metals.next(), await metals.next()];
  expect(gold.value).toEqual({ symbol: 'metals.gold', value: 2, dropped: 0 });
  expect(tin.value).toEqual({ symbol: 'metals.tin', value: 3, dropped: 0 });
});

test('a slow watcher misses prices, is told how many, and gets the last', async () => {
  await using t = await startTest({ services: [pricesService] });
  const client = t.client(Prices);
  const watch = client.watch({ symbols: '>' });
  await watch.headers;
  const slow = slowConsumer(watch);
  const count = 5000;
  for (let value = 0; value < count; value++) await client.set({ symbol: 'metals.gold', value });
  let received = 0;
  let dropped = 0;
  for (let last = -1; last < count - 1; ) {
    const [price] = await slow.read(1);
    if (price === undefined) break;
    received++;
    dropped += price.dropped;
    last = price.value;
  }
  expect(dropped).toBeGreaterThan(0);
  expect(received + dropped).toBe(count);
});

test('nobody watches any more', async () => {
  await using t = await startTest({ services: [pricesService] });
  const client = t.client(Prices);
  const watch = client.watch({ symbols: '>' });
  await watch.headers;
  watch.cancel();
  const watchers = await settled(
    async () => (await client.set({ symbol: 'metals.gold', value: 1 })).watchers,
  );
  expect(watchers).toBe(0);
});

const refused = [
  { symbol: 'metals..gold', value: 1 },
  { symbol: 'metals.gold', value: -1 },
];

test.each(refused)('Set refuses %j', async (request) => {
  await using t = await startTest({ services: [pricesService] });
  await expect(t.client(Prices).set(request)).rejects.toMatchObject({
    code: Status.INVALID_ARGUMENT,
  });
});
