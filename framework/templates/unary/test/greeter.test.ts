import { Status } from 'millrace';
import { startTest } from 'millrace/testing';
import { expect, test } from 'vitest';
import { Greeter } from '../src/gen/greeter/v1/greeter.js';
import { greeter } from '../src/services/greeter.js';

test('Greet answers with a greeting', async () => {
  await using t = await startTest({ services: [greeter] });
  const reply = await t.client(Greeter).greet({ name: 'Ada' });
  expect(reply).toEqual({ text: 'Hello, Ada!' });
});

test('Greet refuses an empty name', async () => {
  await using t = await startTest({ services: [greeter] });
  const call = t.client(Greeter).greet({ name: ' ' });
  await expect(call).rejects.toMatchObject({ code: Status.INVALID_ARGUMENT });
});
