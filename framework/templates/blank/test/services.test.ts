import { startTest } from 'millrace/testing';
import { expect, test } from 'vitest';
import { services } from '../src/services.js';

test('all services start together', async () => {
  await using t = await startTest({ services });
  expect(t.server.port).toBeGreaterThan(0);
});
